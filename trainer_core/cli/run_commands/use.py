"""`easel runs use`: takes a checkpoint of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli.options import JSON_HELP, Whole

if TYPE_CHECKING:
    from trainer_core.training.run import Run


@click.command("use")
@click.argument("name")
@click.option(
    "--step",
    type=Whole(0),
    default=None,
    help="The step of the checkpoint. Default: the one marked as the best, else the newest usable one.",
)
@click.option("--to", "folder", default="", help="The folder for it. Default: the folder for the results of the run.")
@click.option("--app", default="", metavar="APP", help="Deliver it to this program: comfyui, forge or a1111.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(name: str, step: int | None, folder: str, app: str, as_json: bool) -> None:
    """Deliver a checkpoint of a run.

    It gets the name of the results of the run. A checkpoint that was not tested is tested first; one that cannot be used is refused. The run may still be running.
    """
    from trainer_core import places
    from trainer_core.cli import show
    from trainer_core.cli.runs import find_run
    from trainer_core.models.library.destinations import of_program
    from trainer_core.training import choice
    from trainer_core.training.acceptance import kind_of
    from trainer_core.training.use import use

    if folder and app:
        raise click.UsageError("Give --to or --app, not both.")
    run = find_run(name)
    step = choice.read(run.folder).best if step is None else step
    target: Path | None = places.typed(folder).absolute() if folder else None
    if target is not None and (program := of_program(target, kind_of(run.folder.plan))) is not None:
        show.notice(f"{target} is a folder of {program.title}, which reads such files in {program.folder}.")
        target = program.folder
    taken = _handed_over(run, step, target, app) or use(run, step, target).as_dict()
    if as_json:
        show.as_json(taken)
    else:
        show.line(f"The checkpoint of step {taken['step']} is in {taken['delivered']}")
        for notice in taken.get("notices", ()):
            show.line(notice, "yellow")


def _handed_over(run: Run, step: int | None, target: Path | None, app: str) -> dict[str, Any] | None:
    """The checkpoint as JSON data after it was copied to a program, or the final result to a folder; None for any other."""
    from trainer_core.models.library.destinations import destination
    from trainer_core.training.acceptance import kind_of
    from trainer_core.training.folder import results_folder
    from trainer_core.training.handing_over import hand_over
    from trainer_core.training.results import results_of

    one = results_of(run).of_step(step) if step is not None else None
    if not app and (one is None or not one.is_final):
        return None
    plan = run.folder.plan
    folder = destination(app, kind_of(plan)).folder if app else target or results_folder(plan)
    given = hand_over(run, step, folder)
    made = results_of(run).of_step(given.step)
    return {
        **(made.saved.as_dict() if made else {}),
        "step": given.step,
        "delivered": str(given.path),
        "notices": given.notices,
    }
