"""`easel dataset import`: brings images into a dataset."""

from __future__ import annotations

from pathlib import Path

import click

from trainer_core.cli import importing_shown
from trainer_core.cli.options import JSON_HELP


@click.command("import")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True)
@click.option("--convert", multiple=True, metavar="KIND", help=importing_shown.CONVERT_HELP)
@click.option("--caption-extension", default=".txt", show_default=True, help="The file extension that captions get.")
@click.option("--preview", "previews", is_flag=True, help="Only say what would come in, and what could be converted.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(
    folder: Path,
    sources: tuple[str, ...],
    convert: tuple[str, ...],
    caption_extension: str,
    *,
    previews: bool,
    as_json: bool,
) -> None:
    """Copy images, captions and masks into FOLDER.

    SOURCES are images, folders, zips and tars, and links: the address of a zip, or a dataset on the Hub (owner/name). FOLDER is made if needed. What it has already is not
    copied again, and nothing in it is replaced: a file whose name is taken gets a number. `easel dataset undo` takes the import
    back. Ctrl+C stops it, and nothing has come in then; the same command continues a download.
    """
    importing_shown.bring_in(folder, sources, convert, caption_extension, previews=previews, as_json=as_json)
