"""`easel tools`: commands that change model files into other forms. Each command runs as a separate job."""

from __future__ import annotations

import click

from trainer_core.cli import jobs, show
from trainer_core.cli.options import JSON_HELP
from trainer_core.errors import JobError
from trainer_core.jobs.state import JobState
from trainer_core.tools import rename as renaming


@click.group()
def tools() -> None:
    """Make copies of model files that an engine can read."""


@tools.command()
@click.argument("file")
@click.option("--layout", required=True, help="The layout of the new names, such as ldm or transformers.")
@click.option("--kind", default="", help="The part or family to copy; by default the only one in the file.")
@click.option("--prefix", default="", help="The prefix of all new names; by default none.")
@click.option("--folder", default="", help="The folder for the copy; by default one of Easel's models.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def rename(file: str, layout: str, kind: str, prefix: str, folder: str, as_json: bool) -> None:
    """Copy FILE with other tensor names.

    The weights stay the same, and FILE is not changed. When a plan needs a copy, it shows the complete command.
    The output is the path of the copy.
    """
    job = renaming.start(renaming.Settings(file=file, layout=layout, kind=kind, prefix=prefix, folder=folder))
    jobs.watch(job, quiet=as_json)
    result = job.result or {}
    path = next(iter(result.get("outputs", ())), "")
    if job.state is not JobState.COMPLETED or not path:
        told = result.get("diagnosis") or {}
        raise JobError(str(told.get("cause", "The copy was not made.")), str(told.get("advice", "")))
    if as_json:
        show.as_json({"path": path, "job": job.name})
    else:
        show.line(path)
