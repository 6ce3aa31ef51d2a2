"""`easel dataset export`: copies a dataset out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP

SHOWN = 5


@click.command("export")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--private", is_flag=True, help="Without position, camera and prompts; the pixels stay as they are.")
@click.option("--caption-extension", default=".txt", show_default=True, help="The file extension of captions.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: Path, target: Path, private: bool, caption_extension: str, as_json: bool) -> None:
    """Copy the images and captions of FOLDER to TARGET.

    TARGET is a new folder, or a new zip if its name ends in .zip.
    """
    from trainer_core.curation import exporting

    found = exporting.export(folder, target, is_private=private, ending=caption_extension)
    if as_json:
        show.as_json(dataclasses.asdict(found))
        return
    for name, reason in found.left_out[:SHOWN]:
        show.line(f"{name} was left out: {reason}.")
    if found.told:
        show.line(f"{len(found.told):,} images tell more than their pixels; --private removes it:")
        for name, what in found.told[:SHOWN]:
            show.line(f"  {name}: {what}")
    show.line(f"{found.images:,} images and {found.captions:,} captions were copied to {target}.")
