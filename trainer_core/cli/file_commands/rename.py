"""`easel files rename`: gives a file or folder another name."""

from __future__ import annotations

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP


@click.command("rename")
@click.argument("source")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(source: str, name: str, as_json: bool) -> None:
    """Give SOURCE another NAME, in the same folder."""
    from trainer_core.keeping import bounds, moving, uses

    spot = bounds.named(source)
    if not as_json and (told := uses.told(uses.of(spot))):
        show.line(told, "yellow")
    renamed = moving.rename(spot, name)
    if as_json:
        show.as_json({"file": renamed.text, "path": renamed.path})
    else:
        show.line(renamed.path)
