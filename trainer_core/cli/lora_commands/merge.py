"""`easel lora merge`: adds several LoRAs into one file."""

from __future__ import annotations

from typing import Any

import click

from trainer_core.cli import lora_options, making


@click.command("merge")
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--strength",
    "strengths",
    multiple=True,
    type=float,
    help="The strength of a file, one for each in their order.  [default: 1]",
)
@click.option(
    "--blocks",
    multiple=True,
    metavar="WEIGHTS",
    help="Block weights of a file, such as IN04=0.5,BASE=0; one for each file in their order, '' for none.",
)
@click.option(
    "--method",
    type=click.Choice(["exact", "rank", "sv_fro", "sv_cumulative", "sv_ratio"]),
    default="exact",
    show_default=True,
    help="exact: the ranks add up.",
)
@lora_options.rank_options
@click.option(
    "--naming",
    type=lora_options.NAMING,
    default=None,
    help="The names in the new file.  [default: those of the first file]",
)
@click.option("--dtype", type=lora_options.DTYPE, default="same", show_default=True, help="The dtype of the new file.")
@lora_options.file_options("merged")
@making.options
def command(files: tuple[str, ...], *, dry_run: bool, detach: bool, as_json: bool, **given: Any) -> None:
    """Merge LoRAs into one.

    The effect of the new file is the sum of the effects of FILES at their strengths. The exact sum has the ranks of all files
    together; with --method rank it gets the nearest LoRA of a smaller rank, and the error is shown.
    """  # fmt: skip
    from trainer_core.tools import lora_merge as tool

    given["blocks"] = tuple(lora_options.weights([text] if text else []) for text in given["blocks"])
    settings = tool.Settings(files=files, **lora_options.chosen(given))
    making.make(tool, settings, dry_run=dry_run, detach=detach, as_json=as_json)
