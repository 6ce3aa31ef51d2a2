"""`easel files new-folder`: makes a folder."""

from __future__ import annotations

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP


@click.command("new-folder")
@click.argument("folder")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: str, name: str, as_json: bool) -> None:
    """Make a folder called NAME in FOLDER."""
    from trainer_core.keeping import bounds, moving

    made = moving.new_folder(bounds.named(folder), name)
    if as_json:
        show.as_json({"folder": made.text, "path": made.path})
    else:
        show.line(made.path)
