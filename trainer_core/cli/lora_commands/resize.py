"""`easel lora resize`: gives a LoRA another rank."""

from __future__ import annotations

from typing import Any

import click

from trainer_core.cli import lora_options, making


@click.command("resize")
@click.argument("file")
@click.option(
    "--method",
    type=lora_options.METHOD,
    default="rank",
    show_default=True,
    help="How the rank of each layer is chosen.",
)
@lora_options.rank_options
@click.option("--dtype", type=lora_options.DTYPE, default="same", show_default=True, help="The dtype of the new file.")
@lora_options.file_options("resized")
@making.options
def command(file: str, *, dry_run: bool, detach: bool, as_json: bool, **given: Any) -> None:
    """Give a LoRA a smaller rank.

    The new file is the nearest one of its rank, and the error is shown. `easel lora inspect` suggests a rank. sv_fro and
    sv_cumulative choose the smallest rank of each layer that keeps the share --value, sv_ratio all directions that are at most
    --value times weaker than the strongest one.
    """  # fmt: skip
    from trainer_core.tools import lora_resize as tool

    settings = tool.Settings(file=file, **lora_options.chosen(given))
    making.make(tool, settings, dry_run=dry_run, detach=detach, as_json=as_json)
