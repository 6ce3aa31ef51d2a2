"""`easel runs best`: mark the checkpoint of a run that you like best."""

from __future__ import annotations

import click

from trainer_core.cli.options import JSON_HELP, Whole


@click.command("best")
@click.argument("run")
@click.argument("step", type=Whole(0), required=False)
@click.option("--none", "is_none", is_flag=True, help="Take the mark away.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(run: str, step: int | None, is_none: bool, as_json: bool) -> None:
    """Mark the checkpoint of STEP as the best of RUN.

    `easel runs use` then takes it by default. Without STEP the marked one is shown.
    """
    from trainer_core.cli import show
    from trainer_core.cli.runs import find_run
    from trainer_core.errors import RunError, wrong_use
    from trainer_core.training import choice
    from trainer_core.training.results import results_of

    if is_none and step is not None:
        raise click.UsageError("Give a STEP or --none, not both.")
    found = find_run(run)
    results = results_of(found)
    if step is not None and results.of_step(step) is None:
        known = ", ".join(str(one.step) for one in results.made) or "none"
        raise wrong_use(RunError(f"The run {found.name} has no checkpoint of step {step}.", f"It has: {known}."))
    if step is not None or is_none:
        choice.prefer(found.folder, step)
    best = choice.read(found.folder).best
    if as_json:
        show.as_json({"run": found.name, "best": best})
    else:
        show.line(
            f"The best checkpoint of {found.name} is that of step {best}." if best is not None else "None is marked."
        )
