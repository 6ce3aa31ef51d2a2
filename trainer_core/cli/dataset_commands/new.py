"""`easel dataset new`: brings images into a new dataset in Easel's own folder."""

from __future__ import annotations

import click

from trainer_core.cli import importing_shown
from trainer_core.cli.options import JSON_HELP


@click.command("new")
@click.argument("name")
@click.argument("sources", nargs=-1, required=True)
@click.option("--convert", multiple=True, metavar="KIND", help=importing_shown.CONVERT_HELP)
@click.option("--caption-extension", default=".txt", show_default=True, help="The file extension that captions get.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(
    name: str, sources: tuple[str, ...], convert: tuple[str, ...], caption_extension: str, *, as_json: bool
) -> None:
    """Copy images, captions and masks into a new dataset called NAME.

    It lies in Easel's own folder of datasets, which `easel dataset known` lists. SOURCES are as with `easel dataset import`.
    """
    from trainer_core.curation import known

    importing_shown.bring_in(known.new_folder(name), sources, convert, caption_extension, as_json=as_json)
