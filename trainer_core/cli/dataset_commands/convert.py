"""`easel dataset convert`: converts what engines do not read, or read wrongly."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from trainer_core.cli import importing_shown, show
from trainer_core.cli.options import JSON_HELP

SHOWN = 10


@click.command("convert")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("kinds", nargs=-1)
@click.option(
    "--originals", type=int, metavar="EDIT", help="Bring back the originals of images that this import converted."
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: Path, kinds: tuple[str, ...], originals: int | None, *, as_json: bool) -> None:
    """List or make conversions of images.

    KINDS are ids from the list, or all. They are made as one edit: `easel dataset undo` brings the originals back.
    """
    from trainer_core.curation import converting, gathering
    from trainer_core.curation import originals as kept

    if originals is not None:
        if kinds:
            raise click.UsageError("Name either conversions or --originals.")
        show.edit(
            kept.bring_back(folder, originals),
            "Nothing was changed: the converted images are not there any more.",
            as_json,
        )
        return
    if not kinds:
        counts = converting.counts(folder, gathering.images(folder))
        if as_json:
            show.as_json(counts)
        elif not counts:
            show.line("There is nothing to convert.")
        else:
            rows = ((key, converting.KINDS[key].title, f"{count:,}", converting.KINDS[key].help) for key, count in counts.items())  # fmt: skip
            show.table(("kind", "images", "", "what is done"), rows)
        return
    edit, refused = converting.in_dataset(folder, importing_shown.wanted_kinds(kinds))
    if as_json:
        show.as_json({"edit": dataclasses.asdict(edit) if edit is not None else None, "refused": refused})
        return
    for name, reason in refused[:SHOWN]:
        show.line(f"{name} was left as it is: {reason}.")
    if edit is None:
        show.line("Nothing was converted.")
    else:
        show.line(f"{edit.title}. `easel dataset undo` brings the originals back.")
