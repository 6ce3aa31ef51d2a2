"""`easel dataset undo`: takes an edit back."""

from __future__ import annotations

from pathlib import Path

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP


@click.command("undo")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("edit", type=int, required=False)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: Path, edit: int | None, as_json: bool) -> None:
    """Take back the newest edit, or EDIT.

    Files that were changed since then stay as they are, and are named.
    """
    from trainer_core.curation.journal import Journal

    show.edit(Journal(folder).undo(edit), "There is no edit to take back.", as_json)
