"""`easel lora scale`: multiplies the effect of a LoRA, as a whole or by block."""

from __future__ import annotations

from typing import Any

import click

from trainer_core.cli import lora_options, making


@click.command("scale")
@click.argument("file")
@click.option("--strength", type=float, default=1.0, show_default=True, help="The strength of the whole file.")
@click.option(
    "--block",
    "blocks",
    multiple=True,
    metavar=lora_options.BLOCKS,
    help="The weight of a block, such as IN04=0.5 or 'OUT*=0'; can be repeated.",
)
@lora_options.file_options("scaled")
@making.options
def command(file: str, *, dry_run: bool, detach: bool, as_json: bool, **given: Any) -> None:
    """Make a LoRA weaker or stronger.

    Strength 1 of the new file has the effect of this strength of FILE. `easel lora inspect` lists the blocks. Layers with the
    weight 0 are left out.
    """  # fmt: skip
    from trainer_core.tools import lora_scale as tool

    given["blocks"] = lora_options.weights(given["blocks"])
    settings = tool.Settings(file=file, **given)
    making.make(tool, settings, dry_run=dry_run, detach=detach, as_json=as_json)
