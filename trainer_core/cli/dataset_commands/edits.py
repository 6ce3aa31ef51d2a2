"""`easel dataset edits`: what was changed in a dataset."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP, Whole
from trainer_core.text import size

if TYPE_CHECKING:
    from trainer_core.curation.journal import Journal


@click.command("edits")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--prune", type=Whole(0), default=None, metavar="KEEP", help="Remove what all edits but the newest KEEP have replaced.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Prune without asking.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: Path, prune: int | None, *, yes: bool, as_json: bool) -> None:
    """List the edits of a dataset, the oldest first.

    Each edit keeps what it replaced, so that it can be taken back. --prune frees that space: it says how much, and which edits cannot be
    taken back any more, and asks. The dataset itself is not changed.
    """
    from trainer_core.curation import pruning, records
    from trainer_core.curation.journal import Journal

    journal = Journal(folder)
    if prune is not None:
        _prune(journal, prune, yes=yes, as_json=as_json)
        return
    edits = journal.edits()
    gone = records.taken_back(edits)
    if as_json:
        show.as_json([{**dataclasses.asdict(one), "taken_back": one.number in gone} for one in edits])
        return
    if not edits:
        show.line("Nothing was edited.")
        return
    show.table(
        ("edit", "when", "files", "what", "by", ""),
        (
            (
                str(one.number),
                time.strftime("%Y-%m-%d %H:%M", time.localtime(one.time)),
                f"{one.files:,}",
                one.title,
                one.author,
                "taken back" if one.number in gone else "cannot be taken back" if one.is_pruned else "",
            )
            for one in edits
        ),
    )
    show.line(f"To take them back, {size(pruning.kept_bytes(journal))} are kept; --prune frees them.")


def _prune(journal: Journal, keep: int, *, yes: bool, as_json: bool) -> None:
    from trainer_core.curation import pruning

    found = pruning.preview(journal, keep)
    if not as_json:
        if not found.edits:
            show.line("There is nothing to remove.")
            return
        show.line("These edits cannot be taken back any more:")
        for one in found.edits:
            show.line(f"  {one.number} {one.title}")
        show.line(f"{size(found.freed_bytes)} will be free.")
    if not yes:
        if as_json:
            raise click.UsageError("Add --yes: what is removed does not come back.")
        click.confirm("Remove what they keep?", abort=True, default=False)
    done = pruning.prune(journal, keep)
    if as_json:
        show.as_json({"edits": [one.number for one in done.edits], "freed_bytes": done.freed_bytes})
    else:
        show.line("Done.")
