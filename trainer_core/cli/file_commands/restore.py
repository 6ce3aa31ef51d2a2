"""`easel files restore`: brings a deleted file or folder back."""

from __future__ import annotations

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP


@click.command("restore")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(name: str, as_json: bool) -> None:
    """Bring a deleted file or folder back to where it was.

    NAME is its name or its id in the trash. If its name is taken by now, it gets a number.
    """
    from trainer_core.keeping import trash

    restored = trash.restore(trash.find(name))
    if as_json:
        show.as_json({"file": restored.text, "path": restored.path})
    else:
        show.line(f"Restored {restored.path}.")
