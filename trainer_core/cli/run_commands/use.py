"""`easel runs use`: takes a checkpoint of a run."""

from __future__ import annotations

from pathlib import Path

import click

from trainer_core.cli.options import JSON_HELP


@click.command("use")
@click.argument("name")
@click.option("--step", type=int, default=None, help="The step of the checkpoint. Default: the newest usable one.")
@click.option("--to", "folder", default="", help="The folder for it. Default: the folder for the results of the run.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(name: str, step: int | None, folder: str, as_json: bool) -> None:
    """Deliver a checkpoint of a run.

    It gets the name of the results of the run. A checkpoint that was not tested is tested first; one that cannot be used is refused. The run may still be running.
    """
    from trainer_core import places
    from trainer_core.cli import show
    from trainer_core.cli.runs import find_run
    from trainer_core.training.use import use

    target: Path | None = places.typed(folder).absolute() if folder else None
    taken = use(find_run(name), step, target)
    if as_json:
        show.as_json(taken.as_dict())
    else:
        show.line(f"The checkpoint of step {taken.step} is in {taken.delivered}")
