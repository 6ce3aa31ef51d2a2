"""`easel runs delete`: move a run to the trash."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP

if TYPE_CHECKING:
    from trainer_core.training.trash import Deletion

FEW = 3
"""So many names of files are shown at most."""


@click.command("delete")
@click.argument("run")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Delete it even if another run continues it.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(run: str, yes: bool, force: bool, as_json: bool) -> None:
    """Move RUN to the trash.

    `easel runs trash restore` brings it back. Delivered files stay.
    """
    from trainer_core.cli.asking import agreed
    from trainer_core.cli.runs import RUNS
    from trainer_core.training import trash

    # Not find_run, which gives a lost run a new supervisor.
    path = RUNS.named(run).folder.path
    found = trash.look(path, force)
    if not as_json:
        _show(found, path)
    if not yes and not agreed("Move this run to the trash?", as_json):
        sys.exit(1)
    target = trash.delete(path, force)
    if as_json:
        show.as_json({**dataclasses.asdict(found), "folder": target})
        return
    show.line(f"Moved to {target}. `easel runs trash restore {target.name}` brings it back.")


def _show(found: Deletion, path: Path) -> None:
    from trainer_core.text import size

    show.line(f"{found.run}: {size(found.bytes)} in {path}")
    if found.kept:
        show.line(f"  stays: {_listed([str(file) for file in found.kept])}")
    if found.only_here:
        show.line(f"  exists only in this run: {_listed([file.name for file in found.only_here])}", "yellow")
    for other in found.resumed_by:
        show.line(f"  {other} continues this run.", "yellow")


def _listed(names: Sequence[str]) -> str:
    """Names in one line: all if they are few, else how many, with the first and the last."""
    if len(names) <= FEW:
        return ", ".join(names)
    return f"{len(names)} files, {names[0]} to {names[-1]}"
