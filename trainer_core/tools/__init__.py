"""Tools: kinds of jobs that work on the user's files without training. Not: what is wrong with a file, or how to fix it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from trainer_core.errors import JobError
from trainer_core.jobs import kind

if TYPE_CHECKING:
    from trainer_core.jobs.job import Job
    from trainer_core.problems import Task


@runtime_checkable
class Tool(Protocol):
    """A kind of job that a fix can start; its only output is the path of the file that it makes."""

    def begin(self, arguments: Mapping[str, str]) -> Job:
        """The job with these arguments, started now.

        Raises:
            EaselError: an argument is wrong, or the job cannot be started.
        """
        ...


def begin(task: Task) -> Job:
    """The job of a fix, started now.

    Raises:
        EaselError: there is no such tool, an argument is wrong, or the job cannot be started.
    """
    found = kind.get(task.tool)
    if not isinstance(found, Tool):
        raise JobError(
            f"{task.tool!r:.80} is a kind of job, but not a tool that a fix can start.", "Update its package."
        )
    return found.begin(task.arguments)
