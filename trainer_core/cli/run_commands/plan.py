"""`easel runs plan`: saves the plan of a run as a file of its own."""

from __future__ import annotations

from pathlib import Path

import click

from trainer_core.cli.options import JSON_HELP


@click.command("plan")
@click.argument("run")
@click.option(
    "--to", "folder", default="", metavar="FOLDER", help="The folder for the file. Default: that of the outputs."
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(run: str, folder: str, as_json: bool) -> None:
    """Save the plan of RUN as a file of its own.

    `easel train FILE` starts the same training again.
    """
    from trainer_core import places
    from trainer_core.cli import show
    from trainer_core.cli.runs import find_run
    from trainer_core.training.saved_plan import save_plan

    target: Path | None = places.typed(folder).absolute() if folder else None
    path = save_plan(find_run(run), target)
    if as_json:
        show.as_json({"plan": path})
    else:
        show.line(f"Saved {path}. `easel train {path}` starts the same training.")
