"""What the commands share that start a tool as a job: the outlook, the waiting, and the path of the new file."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from trainer_core.cli import jobs, show
from trainer_core.cli.options import JSON_HELP
from trainer_core.errors import JobError
from trainer_core.jobs.job import Job
from trainer_core.jobs.own_program import MADE
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.text import amount, size
from trainer_core.tools.outlook import Outlook


def run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of every command that starts a tool."""
    function = click.option("--json", "as_json", is_flag=True, help=JSON_HELP)(function)
    function = click.option("--detach", is_flag=True, help="Return at once; `easel jobs follow` shows the job.")(
        function
    )
    return click.option("--dry-run", is_flag=True, help="Only show what would be made.")(function)


def outlook(found: Outlook, as_json: bool) -> None:
    """Shows what a tool would make."""
    if as_json:
        show.as_json(dataclasses.asdict(found) | {"target": str(found.target)})
        return
    show.line(found.target)
    show.line(
        f"{size(found.size_bytes)}, {amount(found.tensors, 'tensor')}, {found.changed:,} of them computed; "
        f"up to {size(found.memory_bytes)} of memory."
    )
    for note in found.notes:
        show.line(note)


def finish(job: Job, detach: bool, as_json: bool) -> Mapping[str, Any]:
    """Waits for a job and shows its progress; Ctrl+C stops it. Returns what its program says that it has made, {} if detached.

    Raises:
        JobError: it made nothing.
    """
    if detach:
        show.as_json({"job": job.name}) if as_json else show.line(
            f"Job {job.name}. `easel jobs follow {job.name}` shows it."
        )
        return {}
    try:
        jobs.watch(job, quiet=as_json)
    except SystemExit:
        if job.state not in FINAL_STATES:
            job.stop()
            show.notice("The job was stopped, and no file was made.")
            sys.exit(130)
        raise
    result = job.result or {}
    if job.state is not JobState.COMPLETED:
        told = result.get("diagnosis") or {}
        raise JobError(str(told.get("cause", "The file was not made.")), str(told.get("advice", "")))
    return job.folder.read(MADE) or {}


def made(found: Mapping[str, Any], job: Job, as_json: bool) -> None:
    """Shows what a job has made: the path, and what its program says of it."""
    if not found:
        return
    if as_json:
        show.as_json({**found, "job": job.name})
        return
    for sentence in found.get("notes", ()):
        show.line(sentence)
    show.line(found.get("path", ""))


def weights(texts: Sequence[str], what: str) -> dict[str, float]:
    """Numbers by name, from texts such as IN04=0.5.

    Raises:
        click.UsageError: a text is something else.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise click.UsageError(f"{text!r:.60}: write {what}.")
    return found
