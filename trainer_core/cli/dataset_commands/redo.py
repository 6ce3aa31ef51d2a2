"""`easel dataset redo`: makes an edit again that was taken back."""

from __future__ import annotations

from pathlib import Path

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP


@click.command("redo")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: Path, as_json: bool) -> None:
    """Make the edit again that was taken back last.

    Not possible if something else was edited since then.
    """
    from trainer_core.curation.journal import Journal

    show.edit(Journal(folder).redo(), "There is no edit to make again.", as_json)
