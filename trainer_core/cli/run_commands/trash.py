"""`easel runs trash`: list, restore and remove deleted runs."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP

if TYPE_CHECKING:
    from trainer_core.training.trash import Trashed


@click.group("trash")
def command() -> None:
    """List, restore and remove deleted runs."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def list_trash(as_json: bool) -> None:
    """List the deleted runs, the last one first."""
    from trainer_core.text import size
    from trainer_core.training import trash

    found = trash.trashed()
    if as_json:
        show.as_json(list(map(_row, found)))
    elif found:
        when = [time.strftime("%Y-%m-%d %H:%M", time.localtime(one.deleted)) if one.deleted else "" for one in found]
        cells = ((one.path.name, one.name, at, size(one.bytes)) for one, at in zip(found, when, strict=True))
        show.table(("run", "name", "deleted", "size"), cells)
    else:
        show.line("The trash is empty.")


@command.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def restore(run: str, as_json: bool) -> None:
    """Bring a deleted run back."""
    from trainer_core.training import trash

    folder = trash.restore(run)
    if as_json:
        show.as_json({"run": folder.name, "folder": folder})
    else:
        show.line(f"Restored {folder}.")


@command.command()
@click.argument("runs", nargs=-1)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def empty(runs: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Remove deleted RUNS for good; without RUNS, all of them."""
    from trainer_core.cli.asking import agreed
    from trainer_core.text import size
    from trainer_core.training import trash

    wanted = [trash.find(name) for name in runs] if runs else trash.trashed()
    if not wanted and not as_json:
        show.line("The trash is empty.")
        return
    for one in wanted if not as_json else ():
        show.line(f"{one.path.name}: {size(one.bytes)}")
    total = size(sum(one.bytes for one in wanted))
    if wanted and not yes and not agreed(f"Remove {len(wanted)} runs for good ({total})?", as_json):
        sys.exit(1)
    removed = trash.empty(tuple(one.path.name for one in wanted)) if wanted else []
    if as_json:
        show.as_json({"removed": list(map(_row, removed))})
        return
    show.line(f"Removed {len(removed)} runs, {size(sum(one.bytes for one in removed))}.")


def _row(one: Trashed) -> dict[str, Any]:
    return {"run": one.run, "name": one.name, "folder": one.path, "deleted": one.deleted, "bytes": one.bytes}
