"""`easel tools`: commands that change model files into other forms. Each command runs as a separate job."""

from __future__ import annotations

import dataclasses

import click

from trainer_core.cli import jobs, show
from trainer_core.cli.options import JSON_HELP
from trainer_core.errors import JobError
from trainer_core.jobs.job import Job
from trainer_core.jobs.state import JobState
from trainer_core.tools import rename as renaming
from trainer_core.tools import scrub as scrubbing


@click.group()
def tools() -> None:
    """Make copies of model files that an engine can read, or that can be published."""


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
    _finish(job, as_json)


@tools.command()
@click.argument("file")
@click.option("--keep", multiple=True, help="A group or a metadata key to keep; can be repeated.")
@click.option("--out", default="", help="The file to write. Default: next to FILE, with -public in its name.")
@click.option("--show", "only_show", is_flag=True, help="Only show what would be removed.")
@click.option("--yes", is_flag=True, help="Write the copy without asking.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def scrub(file: str, keep: tuple[str, ...], out: str, only_show: bool, yes: bool, as_json: bool) -> None:
    """Copy FILE without personal metadata, for publishing.

    Folder names, captions, prompts, comments, times and paths are removed. What would be removed is shown first. The weights
    stay the same, and FILE is not changed. The output is the path of the copy.
    """
    settings = scrubbing.Settings(file=file, target=out, keep=keep)
    kept, findings, _ = scrubbing.preview(settings)
    if as_json and only_show:
        show.as_json({"removed": [dataclasses.asdict(each) for each in findings], "kept": sorted(kept)})
        return
    if not as_json:
        show.table(("metadata key", "", "because", "value"), scrubbing.described(findings))
        show.line(f"{len(kept)} keys stay. --keep takes a key, or one of: {', '.join(scrubbing.groups())}.", "dim")
    if only_show:
        return
    if not (yes or as_json):
        click.confirm("Write the copy?", abort=True, default=True)
    _finish(scrubbing.start(settings), as_json)


def _finish(job: Job, as_json: bool) -> None:
    """Shows the progress of a job that makes a copy, then the path of the copy."""
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
