"""`easel dataset edits`: what was changed in a dataset."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP


@click.command("edits")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: Path, as_json: bool) -> None:
    """List the edits of a dataset, the oldest first."""
    from trainer_core.curation import records
    from trainer_core.curation.journal import Journal

    edits = Journal(folder).edits()
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
                "taken back" if one.number in gone else "",
            )
            for one in edits
        ),
    )
