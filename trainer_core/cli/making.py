"""How the commands that make a model file show what they will do, run their job, and show the new file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import click

from trainer_core.cli import jobs, show
from trainer_core.cli.options import JSON_HELP
from trainer_core.errors import JobError
from trainer_core.jobs.job import Job
from trainer_core.jobs.own_program import MADE
from trainer_core.jobs.state import JobState
from trainer_core.text import size
from trainer_core.tools.outlook import Outlook


class NewFile(click.ParamType):
    """A new file or folder, given from the working folder: the core puts a name alone into the folder of its tool."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002 - click's own form
        """The path, spelled out."""
        from trainer_core.weights import new_names

        return new_names.from_here(value)


NEW_FILE = NewFile()


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --dry-run, --detach and --json."""
    function = click.option("--json", "as_json", is_flag=True, help=JSON_HELP)(function)
    function = click.option("--detach", is_flag=True, help="Start the job, and do not wait for it.")(function)
    return click.option("--dry-run", is_flag=True, help="Show what would be made, and make nothing.")(function)


class Tool(Protocol):
    """A tool that says what it will make, and starts the job that makes it: its module."""

    def outlook(self, settings: Any) -> Outlook:
        """What it will make."""
        ...

    def start(self, settings: Any) -> Job:
        """The job that makes it, started now."""
        ...


def make(tool: Tool, settings: object, *, dry_run: bool, detach: bool, as_json: bool) -> None:
    """Shows what a tool would make, or makes it: what the options of `options` say.

    Raises:
        EaselError: it cannot be made; the sentence says why.
    """
    if dry_run:
        show_outlook(tool.outlook(settings), as_json)
    else:
        finish(tool.start(settings), detach, as_json)


def show_outlook(outlook: Outlook, as_json: bool) -> None:
    """Prints what a tool would make."""
    if as_json:
        show.as_json(dataclasses.asdict(outlook))
        return
    show.line(f"file: {outlook.target}")
    show.line(
        f"size: {'at most ' if outlook.is_most else ''}{size(outlook.size_bytes)}, with {outlook.memory_bytes / 1e9:.1f} GB of memory"
    )
    show.line(f"tensors: {outlook.tensors}, of which {outlook.changed} are computed")
    if outlook.seconds is not None:
        show.line(f"time: about {outlook.seconds:.0f} s, as the last time on this machine")
    for note in outlook.notes:
        show.line(note)


def finish(job: Job, detach: bool, as_json: bool) -> None:
    """Waits for a job that makes a file, with its progress, and prints what it says of it, and the path. Ctrl+C stops the job.

    Raises:
        JobError: the job has made no file; the sentence says why.
    """
    if detach:
        if as_json:
            show.as_json({"job": job.name, "folder": job.folder.path})
        else:
            show.line(f"Started {job.name}. `easel jobs follow {job.name}` shows its progress.")
        return
    jobs.watch(job, quiet=as_json, stops=True)
    result = job.result or {}
    path = next(iter(result.get("outputs", ())), "")
    if job.state is not JobState.COMPLETED or not path:
        how = "The job was stopped, and no file was made." if job.state is JobState.CANCELLED else "No file was made."
        told = job.diagnosis
        raise JobError(told.cause if told else how, told.advice if told else "")
    made = job.folder.read(MADE) or {}
    if as_json:
        show.as_json({**made, "path": path, "job": job.name})
        return
    for sentence in made.get("notes", ()):
        show.line(sentence)
    show.line(path)
