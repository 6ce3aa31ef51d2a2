"""`easel dataset list`: shows the images of a dataset that fit a filter."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.text import amount, printable

if TYPE_CHECKING:
    from trainer_core.curation.catalogue import Entry
    from trainer_core.curation.filtering import Filter

SHOWN = 50
CAPTION = 60


@click.command("list")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option(
    "--filter", "text", default="", metavar="FILTER", help="Only images that fit, such as 'tag:smile -is:reject'."
)
@click.option(
    "--sort", default="path", show_default=True, metavar="KEY", help="The order, such as mp, tokens or score.blur."
)
@click.option("--descending", is_flag=True, help="The largest first.")
@click.option("--all", "shows_all", is_flag=True, help=f"Show all images, not only the first {SHOWN}.")
@click.option("--fields", "shows_fields", is_flag=True, help="List what a filter can ask for, and stop.")
@click.option("--engine", default="", help="The engine whose rules are used.  [default: the first by rank]")
@click.option("--trigger", default="", help="The trigger word to look for in the captions.")
@click.option("--caption-extension", default=".txt", show_default=True, help="The file extension of captions.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(
    folder: Path | None,
    *,
    text: str,
    sort: str,
    descending: bool,
    shows_all: bool,
    shows_fields: bool,
    engine: str,
    trigger: str,
    caption_extension: str,
    as_json: bool,
) -> None:
    """Show the images of a dataset with their size, caption and defects.

    Scores are there after `easel dataset score`, copies after `easel dataset dedupe`.
    """
    from trainer_core.curation import filtering, selections

    if shows_fields:
        _fields(as_json=as_json)
        return
    if folder is None:
        raise click.UsageError("Give the folder of a dataset, or --fields.")
    chosen = understood(text, folder)
    entries = listed(folder, engine, caption_extension, trigger)
    notes = selections.read(folder).notes
    found = filtering.ordered(filter(chosen.matches, entries), sort, descending)
    if as_json:
        images = [_row(entry) for entry in found]
        show.as_json({"filter": str(chosen), "total": len(entries), "images": images, "notes": notes})
        return
    for note in notes:
        show.line(note, "yellow")
    shown = found if shows_all else found[:SHOWN]
    heads = ("image", "size", "caption", "defects", "choice")
    show.table(heads, [_cells(entry) for entry in shown])
    if len(found) > len(shown):
        show.line(f"and {len(found) - len(shown):,} more; --all shows them")
    show.line(f"{len(found):,} of {amount(len(entries), 'image')} {'fits' if len(found) == 1 else 'fit'}.")


def understood(text: str, folder: Path) -> Filter:
    """The filter that a text says of a dataset; a selection that it does not have is a mistake."""
    from trainer_core.curation import filtering, selections

    # A folder that is not there is said when its images are listed.
    return filtering.parse(text, selections=selections.read(folder).named if folder.is_dir() else None)


def listed(folder: Path, engine: str, extension: str, trigger: str = "") -> list[Entry]:
    """The images of a dataset with all that is known of them; nothing is decoded."""
    from trainer_core.curation import authors, catalogue, duplicates, scores
    from trainer_core.engines import registry

    rules = (registry.get(engine) if engine else registry.first()).manifest.dataset
    known = scores.stored(folder)
    return catalogue.entries(
        folder,
        rules,
        extension,
        trigger=trigger,
        scores=scores.of(known),
        authors=authors.of(folder),
        copies=duplicates.better(duplicates.groups(folder, extension, seen=known)) if known else {},
    )


def _row(entry: Entry) -> dict[str, object]:
    return {one.name: getattr(entry, one.name) for one in dataclasses.fields(entry)}


def _cells(entry: Entry) -> tuple[str, ...]:
    size = f"{entry.width} x {entry.height}" if entry.width else "cannot be read"
    return printable(entry.path, 80), size, printable(entry.caption, CAPTION), ", ".join(entry.defects), entry.choice


def _fields(*, as_json: bool) -> None:
    from trainer_core.curation import filtering, quality

    if as_json:
        show.as_json(
            {
                "fields": [
                    {"name": one.name, "help": one.help, "example": one.example, "values": list(one.values or ())}
                    for one in filtering.FIELDS.values()
                ],
                "scores": list(quality.MEASURES),
                "sorts": {key: title for key, (title, _) in filtering.SORTS.items()},
            }
        )
        return
    rows = [(f"{one.name}:" if one.name else "word", one.help, one.example) for one in filtering.FIELDS.values()]
    rows += [(f"score.{one.key}:", one.meaning, f"score.{one.key}:<1") for one in quality.MEASURES.values()]
    show.table(("field", "what it finds", "example"), rows)
    for one in filtering.FIELDS.values():
        if one.values:
            show.line(f"{one.name}: {', '.join(one.values)}")
    show.line("Conditions are joined with and, or, not and brackets; * stands for any text, ? for one character.")
    show.line(f"Orders: {', '.join(filtering.SORTS)}, score.NAME.")
