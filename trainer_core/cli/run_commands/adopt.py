"""`easel runs adopt`: a new supervisor for a run whose supervisor has ended without a result."""

from __future__ import annotations

import click

from trainer_core.cli.options import JSON_HELP


@click.command("adopt")
@click.argument("name")
@click.option(
    "--force",
    is_flag=True,
    help="Also a run that was started on another machine, which is gone. If it is not gone, the run goes on twice.",
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(name: str, force: bool, as_json: bool) -> None:
    """Give a lost run a new supervisor.

    It follows the engine of the run if that still runs, or judges the output, and then starts the steps that are left.

    For a run that this Easel did not start itself here, such as a copied folder or one from somebody else, it judges the files
    that are there, and starts nothing.
    """
    from trainer_core.cli import show
    from trainer_core.cli.runs import RUNS
    from trainer_core.jobs.recovery import adopt

    # Not RUNS.find, which adopts what it finds: here the reason for a refusal is to be read.
    run = RUNS.named(name)
    adopt(run, force)
    if as_json:
        show.as_json({**RUNS.about(run), "folder": run.folder.path})
        return
    show.line(f"{run.name}: {run.state.name}. A new supervisor has it now.")
    show.line(f"`easel runs follow {run.name}` shows it.", "dim")
