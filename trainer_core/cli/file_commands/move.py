"""`easel files move`: moves files and folders into another folder."""

from __future__ import annotations

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP


@click.command("move")
@click.argument("sources", nargs=-1, required=True)
@click.argument("folder")
@click.option("--keep-both", is_flag=True, help="Number a file whose name is taken, instead of an error.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(sources: tuple[str, ...], folder: str, keep_both: bool, as_json: bool) -> None:
    """Move SOURCES into FOLDER.

    Nothing is replaced. On another disk each file is copied and compared before the old one is removed.
    """
    from trainer_core.cli.download import interrupted
    from trainer_core.keeping import bounds, moving, uses
    from trainer_core.keeping.carrying import Going

    spots = [bounds.named(source) for source in sources]
    if not as_json and (told := uses.told(uses.of(*spots))):
        show.line(told, "yellow")
    with interrupted() as cancel:
        moved = moving.move(spots, bounds.named(folder), Going(cancel=cancel), keeps_both=keep_both)
    if as_json:
        show.as_json({"moved": [{"file": each.text, "path": each.path} for each in moved]})
        return
    for each in moved:
        show.line(each.path)
