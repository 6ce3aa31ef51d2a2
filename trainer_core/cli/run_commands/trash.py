"""`easel runs trash`: list, restore and remove deleted runs."""

from __future__ import annotations

import sys
import time

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP


@click.group("trash")
def command() -> None:
    """List, restore and remove deleted runs."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def list_trash(as_json: bool) -> None:
    """List the deleted runs, the last one first."""
    from trainer_core.cli.asking import size
    from trainer_core.training import trash

    found = trash.trashed()
    if as_json:
        show.as_json(
            [{"run": one.run, "folder": one.path, "deleted": one.deleted, "bytes": one.bytes} for one in found]
        )
    elif found:
        when = [time.strftime("%Y-%m-%d %H:%M", time.localtime(one.deleted)) if one.deleted else "" for one in found]
        cells = ((one.path.name, at, size(one.bytes)) for one, at in zip(found, when, strict=True))
        show.table(("run", "deleted", "size"), cells)
    else:
        show.line("The trash is empty.")


@command.command()
@click.argument("run")
def restore(run: str) -> None:
    """Bring a deleted run back."""
    from trainer_core.training import trash

    show.line(f"Restored {trash.restore(run)}.")


@command.command()
@click.argument("runs", nargs=-1)
@click.option("--yes", is_flag=True, help="Do not ask.")
def empty(runs: tuple[str, ...], yes: bool) -> None:
    """Remove deleted RUNS for good; without RUNS, all of them."""
    from trainer_core.cli.asking import agreed, size
    from trainer_core.training import trash

    wanted = [one for one in trash.trashed() if not runs or {one.run, one.path.name} & set(runs)]
    if not wanted and not runs:
        show.line("The trash is empty.")
        return
    for one in wanted:
        show.line(f"{one.path.name}: {size(one.bytes)}")
    if not yes and not agreed(f"Remove {len(wanted)} runs for good ({size(sum(one.bytes for one in wanted))})?"):
        sys.exit(1)
    removed = trash.empty(runs or tuple(one.path.name for one in wanted))
    show.line(f"Removed {len(removed)} runs, {size(sum(one.bytes for one in removed))}.")
