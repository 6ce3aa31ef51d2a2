"""`easel runs extend`: train a finished run for more steps, from its last state."""

from __future__ import annotations

import click

from trainer_core.cli.continuing import continue_run, options
from trainer_core.cli.options import Whole


@click.command("extend")
@click.argument("name")
@click.option("--steps", type=Whole(), required=True, help="The number of steps to add.")
@options
def command(name: str, steps: int, **chosen: bool) -> None:
    """Train a finished run for more steps, from its last state.

    The weights and the optimizer continue in a new run folder. What the learning rate does is shown first.
    """
    continue_run(name, None, steps, **chosen)
