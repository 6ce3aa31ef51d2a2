"""`easel dataset import`: brings images into a dataset."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP

SHOWN = 10


@click.command("import")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: Path, sources: tuple[Path, ...], as_json: bool) -> None:
    """Copy images and captions into FOLDER.

    SOURCES are images, folders and zip files. FOLDER is made if needed. What it has already is not copied again, and nothing in it is replaced: a file whose name is
    taken gets a number. `easel dataset undo` takes the import back.
    """
    from trainer_core.curation import importing

    found = importing.add(folder, sources)
    if as_json:
        show.as_json(dataclasses.asdict(found))
        return
    for before, now in found.renamed[:SHOWN]:
        show.line(f"{before} is named {now}, because there is another file of its name.")
    for name, reason in found.left_out[:SHOWN]:
        show.line(f"{name} was left out: {reason}.")
    hidden = max(0, len(found.renamed) - SHOWN) + max(0, len(found.left_out) - SHOWN)
    if hidden:
        show.line(f"and {hidden:,} more; --json lists all")
    known = f", {len(found.known):,} were there already" if found.known else ""
    show.line(f"{_count(found.images, 'image')} and {_count(found.captions, 'caption')} came into {folder}{known}.")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
