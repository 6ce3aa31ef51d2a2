"""`easel runs resume`: continue a run that was interrupted, from a saved state."""

from __future__ import annotations

import click

from trainer_core.cli.continuing import continue_run, options
from trainer_core.cli.options import Whole


@click.command("resume")
@click.argument("name")
@click.option("--step", type=Whole(), help="Continue from the state of this step. Default: the newest.")
@options
def command(name: str, step: int | None, **chosen: bool) -> None:
    """Continue an interrupted run from its newest state.

    It continues to its planned end in a new run folder, with the same plan, images and captions. What continues and what
    starts anew is shown first.
    """
    continue_run(name, step, 0, **chosen)
