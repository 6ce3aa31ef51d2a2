"""`easel dataset fix`: mends what the check found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.text import printable

if TYPE_CHECKING:
    from trainer_core.curation.fixing import Offer

SHOWN = 3


@click.command("fix")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("fixes", nargs=-1)
@click.option("--all", "takes_all", is_flag=True, help="Make every fix that is listed.")
@click.option("--engine", default="", help="The engine whose rules are used.  [default: the first by rank]")
@click.option("--trigger", default="", help="The trigger word; without it, captions are not completed.")
@click.option("--caption-extension", default=".txt", show_default=True, help="The file extension of captions.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(
    folder: Path,
    fixes: tuple[str, ...],
    *,
    takes_all: bool,
    engine: str,
    trigger: str,
    caption_extension: str,
    as_json: bool,
) -> None:
    """List or make the fixes for what the check finds.

    FIXES are ids from the list. They are made as one edit: `easel dataset undo` takes it back.
    """
    from trainer_core.curation import fixing
    from trainer_core.curation.journal import Journal
    from trainer_core.datasets import scan
    from trainer_core.engines import registry

    Journal(folder).recover()
    rules = (registry.get(engine) if engine else registry.first()).manifest.dataset
    found = scan.scan(folder, rules, caption_extension=caption_extension, trigger=trigger)
    offered = fixing.offers(found, trigger)
    if unknown := set(fixes) - {one.mending.id for one in offered}:
        raise click.UsageError(
            f"There is nothing to do for: {', '.join(sorted(unknown))}. Without an id, the fixes are listed."
        )
    wanted = [one.mending.id for one in offered if takes_all or one.mending.id in fixes]
    titles = "; ".join(one.mending.title for one in offered if one.mending.id in wanted)
    edit, left = fixing.mend(found, wanted, titles, trigger) if wanted else (None, [])
    if as_json:
        show.as_json(
            {
                "offers": [{"id": one.mending.id, "title": one.mending.title, "files": one.files} for one in offered],
                "edit": edit.number if edit is not None else None,
                "refused": left,
            }
        )
        return
    if not wanted:
        _list(offered, folder)
        return
    for path, reason in left:
        show.line(f"{path} was left as it is: {reason}.")
    if edit is None:
        show.line("Nothing was changed.")
    else:
        show.line(
            f"{titles}: {edit.files:,} {'file' if edit.files == 1 else 'files'} changed. `easel dataset undo` takes it back."
        )


def _list(offered: list[Offer], folder: Path) -> None:
    if not offered:
        show.line("There is nothing to mend.")
        return
    show.table(
        ("fix", "what it does", "files", ""),
        (
            (
                one.mending.id,
                f"{one.mending.title}. {one.mending.help}",
                f"{len(one.files):,}",
                ", ".join(printable(file.relative_to(folder).as_posix(), 60) for file in one.files[:SHOWN]),
            )
            for one in offered
        ),
    )
