"""What the supervisor needs from a kind of job, and how it finds the kind.

A kind is an entry point in the group "trainer_core.job_kinds"; the entry point's name is the id in a job's `spec.json`. So a
job's folder never names code. A kind whose program reports its progress in lines of output needs only this:

    class Merging:
        id, title = "merging", "Merging models"

        def watch(self, folder, journal):
            # parse(line) -> Event | None, judge(folder, exit_code) -> Outcome
            return LineWatch(folder, journal, parse, by_exit_code)

    kind = Merging()
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.events import Event
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.outcome import Diagnosis, End, Outcome
from trainer_core.jobs.state import JobState
from trainer_core.jobs.tail import last_lines, shown

ENTRY_POINTS = "trainer_core.job_kinds"
NOT_STARTED = "not-started"
"""The id of the diagnosis of a program that could not be started."""


class Watch(Protocol):
    """Reads a running job, writes its events to the journal, and decides how the job ended.

    It is created before the job's first program starts. It must load then what it needs later, modules included: Easel may
    be updated or removed while the job runs. It gets its log from `journal.read_log`: when the supervisor was killed, another
    one creates a watch again, and the log begins where the first one had come to. The journal leaves out what it has
    written before: steps, files, notices, and phases and epochs in the same order.
    """

    def look(self) -> Diagnosis | None:
        """Reads what is new; called a few times a second. A returned diagnosis is the reason to end the job now."""
        ...

    def finish(self) -> None:
        """Reads the rest, after the job's last program has ended."""
        ...

    def save_now(self) -> bool:
        """Asks the program to save before the machine ends it, if it can and the user wants that; whether it was asked."""
        ...

    def outcome(self, end: End) -> Outcome:
        """How the job ended; called after `finish`, also for a job that was stopped."""
        ...


class JobKind(Protocol):
    """A kind of job: training, installing an engine, a tool."""

    id: str
    title: str

    def watch(self, folder: JobFolder, journal: Journal) -> Watch:
        """The watch that reads this job while it runs."""
        ...


@runtime_checkable
class Tells(Protocol):
    """A kind of job that says what a finished job has done."""

    def told(self, folder: JobFolder) -> tuple[str, str]:
        """A title without a full stop, and a sentence or ""."""
        ...


@runtime_checkable
class Stops(Protocol):
    """A kind of job that says what a stop leaves."""

    stopped: str
    """What stays of a job that is stopped, as a sentence."""


@runtime_checkable
class Elsewhere(Protocol):
    """A watch of a job whose work is done on another machine. Its program only brings here what is made there.

    The program is started again where it ended too early. It is left alone after a stop, because it passes that on and ends
    by itself; and when this machine shuts down, the job gets no result: its next supervisor goes on.
    """

    def starts_again(self, end: End) -> bool:
        """Whether the program is to be started again, because it ended before its work was done."""
        ...


class LineWatch:
    """Reads the log of a job as it grows, and writes the event that `parse` returns for each line.

    `judge` returns the outcome of a job that was not stopped. Its exit code is that of the last program; None if that could
    not be started: the last log line is the reason. It is None, too, if nobody saw the end: only a job whose success `judge`
    finds in its files is then COMPLETED, and any other without a diagnosis of its own is LOST.
    """

    def __init__(
        self,
        folder: JobFolder,
        journal: Journal,
        parse: Callable[[str], Event | None],
        judge: Callable[[JobFolder, int | None], Outcome],
    ) -> None:
        self._folder, self._journal, self._parse, self._judge = folder, journal, parse, judge
        self._log = journal.read_log(folder.log)

    def look(self) -> None:
        """Reads the lines that were completed since the last call. Never ends the job."""
        self._write(self._log.lines())

    def finish(self) -> None:
        """Reads the rest of the log, including an incomplete last line."""
        while lines := self._log.lines():
            self._write(lines)
        self._write([self._log.pending] if self._log.pending else [])

    def save_now(self) -> bool:
        """False: such a job has nothing to save."""
        return False

    def outcome(self, end: End) -> Outcome:
        """CANCELLED after a stop, else what `judge` returns; LOST if nobody saw the end and it says nothing of it."""
        ended = stopped(end) or self._judge(self._folder, end.exit_code)
        is_unknown = ended.diagnosis is None or ended.diagnosis.id == NOT_STARTED
        if end.how == "unseen" and ended.state is JobState.FAILED and is_unknown:
            return Outcome(JobState.LOST)
        return ended

    def _write(self, lines: list[str]) -> None:
        self._journal.write(*(event for line in lines if (event := self._parse(line)) is not None))


def stopped(end: End) -> Outcome | None:
    """The outcome of a job that was stopped by a person or by its watch; None for any other."""
    if end.how == "stop":
        return Outcome(JobState.CANCELLED, end.exit_code)
    if end.how == "watch":
        return Outcome(JobState.FAILED, end.exit_code, diagnosis=end.diagnosis)
    return None


def by_exit_code(folder: JobFolder, exit_code: int | None) -> Outcome:
    """The outcome of a job whose programs report success by exit code 0."""
    if exit_code == 0:
        return Outcome(JobState.COMPLETED, 0)
    lines = last_lines(folder.log)
    last = shown(lines[-1].strip()) if lines else ""
    if exit_code is None:
        return Outcome(JobState.FAILED, None, diagnosis=Diagnosis(NOT_STARTED, last, "", ""))
    how = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
    advice = "Read engine.log in the job folder."
    return Outcome(
        JobState.FAILED, exit_code, diagnosis=Diagnosis("failed", f"The program ended with {how}.", last, advice)
    )


class Commands:
    """A kind for any programs: their output is not parsed, and exit code 0 means success."""

    id, title = "commands", "Commands"

    def watch(self, folder: JobFolder, journal: Journal) -> Watch:
        """A watch that writes no events."""
        return LineWatch(folder, journal, lambda _: None, by_exit_code)


commands = Commands()


def get(kind: str) -> JobKind:
    """The kind of job with this id.

    Raises:
        JobError: there is none, or it cannot be loaded.
    """
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    if not (named := list(points.select(name=kind))):
        known = ", ".join(sorted(points.names)) or "none"
        raise JobError(
            f"There is no kind of job called {kind!r:.80}. Known: {known}.",
            f"Install the package that provides it; if it is one of Easel's own kinds, run: {places.command()}",
        )
    try:
        return named[0].load()
    except (ImportError, AttributeError) as error:
        raise JobError(
            f"The kind of job {kind!r:.80} cannot be loaded: {error}.", "Update or remove its package."
        ) from error
