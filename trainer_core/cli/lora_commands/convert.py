"""`easel lora convert`: writes a LoRA with other names, in another dtype, or as a plain LoRA."""

from __future__ import annotations

from typing import Any

import click

from trainer_core.cli import lora_options, making


@click.command("convert")
@click.argument("file")
@click.option(
    "--naming", type=lora_options.NAMING, default=None, help="The names of the layers.  [default: as they are]"
)
@click.option("--plain", is_flag=True, help="Make plain LoRA layers of LoHa, LoKr and full differences.")
@click.option(
    "--method",
    type=lora_options.METHOD,
    default="rank",
    show_default=True,
    help="How the rank of each layer is chosen.",
)
@lora_options.rank_options
@click.option("--dtype", type=lora_options.DTYPE, default="same", show_default=True, help="The dtype of the new file.")
@lora_options.file_options("converted")
@making.options
def command(file: str, *, dry_run: bool, detach: bool, as_json: bool, **given: Any) -> None:
    """Convert a LoRA for another program.

    The effect stays the same. sd-scripts' names are the usual ones, diffusers' those of PEFT, and ComfyUI's those of ai-toolkit.
    With --plain and a rank, each layer becomes the nearest LoRA of that rank, and the error is shown; without a rank it is exact.
    """  # fmt: skip
    from trainer_core.tools import lora_convert as tool

    settings = tool.Settings(file=file, **lora_options.chosen(given))
    making.make(tool, settings, dry_run=dry_run, detach=detach, as_json=as_json)
