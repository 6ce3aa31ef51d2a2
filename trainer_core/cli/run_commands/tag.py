"""`easel runs tag`: give a run tags, by which the history can be filtered."""

from __future__ import annotations

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP


@click.command("tag", context_settings={"ignore_unknown_options": True})
@click.argument("run")
@click.argument("changes", nargs=-1, metavar="[+TAG] [-TAG]...", type=click.UNPROCESSED)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(run: str, changes: tuple[str, ...], as_json: bool) -> None:
    """Add tags to RUN (+good) and remove some (-bad). Without tags, show those that it has."""
    from trainer_core.cli.runs import find_run
    from trainer_core.training import labels

    folder = find_run(run).folder
    known = labels.read(folder)
    if changes:
        added = [change.removeprefix("+") for change in changes if not change.startswith("-")]
        removed = [change[1:] for change in changes if change.startswith("-")]
        known = labels.change(folder, lambda before: before.tagged(added, removed))
    if as_json:
        show.as_json({"run": folder.path.name, **known.as_dict()})
        return
    show.line(f"{folder.path.name}: {', '.join(known.tags) or 'no tags'}")
