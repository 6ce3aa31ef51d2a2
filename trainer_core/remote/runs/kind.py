"""A run whose engine is on another machine, as a kind of job: what its watch tells, and how it ended."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path

from trainer_core import events
from trainer_core.errors import EaselError
from trainer_core.events import Checked, Checkpoint, Event, Notice, Phase, Sample, StateChange, Step, Transfer
from trainer_core.files import open_own
from trainer_core.jobs.folder import RESULT, JobFolder
from trainer_core.jobs.journal import Copied, Journal
from trainer_core.jobs.outcome import Diagnosis, End, Outcome
from trainer_core.jobs.result import readable
from trainer_core.jobs.state import JobState
from trainer_core.remote.runs import transfers
from trainer_core.remote.runs.fate import sentence
from trainer_core.remote.runs.known import STATE, Known, RunEnd, read_json
from trainer_core.remote.runs.mirror import EVENTS
from trainer_core.remote.runs.notes import FOLDER
from trainer_core.remote.runs.target import Remote
from trainer_core.text import printable
from trainer_core.training.basis import Basis, Preloading
from trainer_core.training.checking import CheckpointTests, tested
from trainer_core.training.folder import REMOTE, RunFolder
from trainer_core.training.outcome import NEWEST, Seen, conclude
from trainer_core.training.space import SpaceWatch
from trainer_core.training.steps import NAN_STEPS

MOST_STARTS = 8
"""How often the follower is started again by one supervisor without anything new from the trainer."""
LONGEST_LINE = 64 << 10
LONGEST_TEXT = 2000
PIECE_BYTES = 1 << 20
LOST, REFUSED, FAILED = "remote-lost", "remote-refused", "remote-failed"


class RemoteWatch:
    """Copies the events that the follower brings into the journal, and has the checkpoints that have arrived tested here."""

    def __init__(self, basis: Basis, journal: Journal) -> None:
        self._basis, self._journal = basis, journal
        self._run = basis.run.path
        self._known = Known.read(self._run)
        self._waiting: dict[str, Checkpoint | Sample] = {}
        self._place, self._starts, self._starts_at = journal.place, 0, -1
        self._last_step, self._nan_from, self._nan_steps = max(journal.steps, basis.done), 0, 0
        self.preloading = Preloading(basis.spec.metrics.kind)
        self._tests = CheckpointTests(self._run, lambda path: tested(path, basis.plan), self.preloading.done)
        self._space = SpaceWatch(basis.run.output, basis.plan.get("output", {}))
        self._reported: set[str] = set()
        self._seen: tuple[int, int] | None = None
        self._moved = Transfer()
        self._catch_up()

    def look(self) -> None:
        """Copies what is new. Never ends the job: that is the trainer's work."""
        self._copy()
        arrived: list[Event] = []
        if self._is_changed():
            self._known = Known.read(self._run)
            if self._known.doing:
                self._journal.write(Phase(self._known.doing, self._known.detail))
            self._journal.write(*(Notice("warning", text) for text in self._known.notices))
            self._journal.write(*(arrived := list(self._arrived())))
        self._look_at_transfers()
        self._journal.write(*self._tests.look(), *self._space.look(time.monotonic(), arrived))

    def _look_at_transfers(self) -> None:
        """Tells what is on its way, whenever the follower has written down more of it."""
        before, self._moved = self._moved, transfers.read(self._run)
        if self._moved != before:
            self._journal.write(self._moved)

    def _is_changed(self) -> bool:
        """Whether the follower has written down more since the last look."""
        try:
            seen = (self._run / FOLDER / STATE).stat()
        except OSError:
            return False
        before, self._seen = self._seen, (seen.st_mtime_ns, seen.st_ino)
        return self._seen != before

    def finish(self) -> None:
        """Copies the rest, after the follower has ended."""
        self.look()
        if gone := len(self._known.gone):
            what = "One checkpoint or sample" if gone == 1 else f"{gone} checkpoints and samples"
            self._journal.write(
                Notice("info", f"{what} of the trainer had been deleted there before they could be fetched.")
            )

    def save_now(self) -> bool:
        """False: the training goes on when this machine ends."""
        return False

    def starts_again(self, end: End) -> bool:
        """Whether the follower is to be started again: it was killed, or it failed, and not for the same reason each time."""
        if end.how not in ("by itself", "unseen") or RunEnd.read(self._run) is not None:
            return False
        if self._place > self._starts_at:
            self._starts, self._starts_at = 0, self._place
        self._starts += 1
        return self._starts <= MOST_STARTS

    def outcome(self, end: End) -> Outcome:
        """As for a run on this machine: COMPLETED if the output that was fetched is complete and accepted here."""
        self.preloading.wait()
        told = self._told(end)
        if isinstance(told, Outcome):
            return told
        reached = self._last_step >= self._basis.spec.total_steps
        seen = Seen(reached, self._nan_from if self._nan_steps >= NAN_STEPS else 0, self._last_step)
        return conclude(self._basis, told, seen, self._tests, self._journal.write)

    def _told(self, end: End) -> End | Outcome:
        """How the remote run ended, as far as the follower has found out."""
        found = RunEnd.read(self._run)
        if found is None:
            return End(None, "unseen", self._unfollowed(end))
        if found.how == "ended":
            return self._as_there()
        if found.how == "stopped":
            return Outcome(JobState.CANCELLED)
        if found.how == "refused":
            return Outcome(JobState.FAILED, diagnosis=_diagnosis(REFUSED, found.cause, found.advice))
        return End(None, "unseen", _diagnosis(LOST, found.cause, found.advice))

    def _as_there(self) -> End:
        """The end of the remote run, as its own result says it. Whether its output is accepted is decided here."""
        result = readable(read_json(self._run / FOLDER / RESULT)) or {}
        state, code = result.get("state"), result.get("exit_code")
        exit_code = code if isinstance(code, int) else None
        found = result.get("diagnosis")
        told = found if isinstance(found, dict) else {}
        names = ("id", "cause", "line", "advice")
        said = Diagnosis(*(printable(str(told.get(name, "")), LONGEST_TEXT) for name in names)) if told else None
        if said is not None:
            # What it says of a checkpoint there is said of the one that is here.
            said = dataclasses.replace(said, advice=said.advice.partition(NEWEST)[0].strip())
        if state == JobState.COMPLETED.name:
            return End(0, "by itself")
        if state == JobState.CANCELLED.name:
            return End(exit_code, "stop")
        unsaid = _diagnosis(FAILED, "The training failed on the other machine.", "Read engine.log in the run folder.")
        if state == JobState.FAILED.name:
            return End(exit_code, "watch", said or unsaid)
        lost = _diagnosis(LOST, "The trainer lost the run.", "Start a new run from its plan.toml.")
        return End(exit_code, "unseen", said or lost)

    def _unfollowed(self, end: End) -> Diagnosis:
        known = Known.read(self._run)
        cause = "The program that follows the training on the other machine ended early."
        if end.how == "stop" and not known.asked:
            cause = "It is not known whether the trainer was told to stop: the program that tells it was ended before."
        elif known.begun:
            cause = f"{cause} {sentence(known)}"
        advice = "Attach the remote run again with: easel remote attach"
        with contextlib.suppress(EaselError):
            advice = f"Follow it again with: {Remote.of(self._run).attaching}"
        return _diagnosis(LOST, cause, advice)

    def _catch_up(self) -> None:
        """Takes over what an earlier supervisor has reported, so that nothing is reported or tested twice."""
        with open_own(self._basis.run.events) as file:
            for line in events.read_lines(file.read()):
                match event := events.from_dict(line):
                    case Checkpoint() | Sample():
                        self._reported.add(event.path)
                        if isinstance(event, Checkpoint):
                            self._tests.add(event)
                    case Checked():
                        self._tests.know(event)
                    case Step():
                        self._note(event)
                    case _:
                        pass
        # What was read before, and had not arrived.
        for _, line in _lines(self._run / FOLDER / EVENTS, 0, self._place):
            self._expect(_event(line)[0])

    def _copy(self) -> None:
        """Copies the events that are new, but no states, and files only when they have arrived."""
        rows = []
        for place, line in _lines(self._run / FOLDER / EVENTS, self._place):
            self._place = place
            event, at = _event(line)
            self._expect(event)
            if event is None or isinstance(event, StateChange | Checked | Checkpoint | Sample | Transfer):
                continue
            if isinstance(event, Step):
                self._note(event)
            rows.append(Copied(place, at, event))
            if len(rows) >= 1000:
                self._journal.copy(rows)
                rows = []
        if rows:
            self._journal.copy(rows)

    def _expect(self, event: Event | None) -> None:
        if isinstance(event, Checkpoint | Sample) and event.path not in self._reported:
            self._waiting[event.path] = event

    def _arrived(self) -> Iterator[Event]:
        """The checkpoints and samples that have arrived since the last look."""
        here = self._known.arrived if self._waiting else ()
        found = [event for path in here if (event := self._waiting.pop(path, None)) is not None]
        self._reported.update(event.path for event in found)
        saved = [event for event in found if isinstance(event, Checkpoint)]
        self._tests.add(*saved)
        return iter(found)

    def _note(self, event: Step) -> None:
        if event.step <= self._last_step and self._nan_steps:
            return
        self._last_step = max(self._last_step, event.step)
        if event.loss is not None and not math.isfinite(event.loss):
            self._nan_from = self._nan_from if self._nan_steps else event.step
            self._nan_steps += 1
        else:
            self._nan_from = self._nan_steps = 0


class RemoteTraining:
    """The kind of job for runs whose engine is on another machine."""

    id, title = REMOTE, "Training on another machine"
    stopped = "The trainer is asked to stop. What was saved there until then is fetched."

    def watch(self, folder: JobFolder, journal: Journal) -> RemoteWatch:
        """The watch on what the follower brings."""
        return RemoteWatch(Basis.of(RunFolder(folder.path)), journal)


kind = RemoteTraining()


def _lines(path: Path, begin: int, end: float = math.inf) -> Iterator[tuple[int, bytes]]:
    """The complete lines of a file from one byte to another, each with the place behind it; overlong ones are left out."""
    try:
        with open_own(path) as file:
            file.seek(begin)
            place, half = begin, b""
            while place < end and (piece := file.read(PIECE_BYTES)):
                *lines, half = (half + piece).split(b"\n")
                for line in lines:
                    place += len(line) + 1
                    if place > end:
                        return
                    if len(line) <= LONGEST_LINE:
                        yield place, line
    except FileNotFoundError:
        return


def _event(line: bytes) -> tuple[Event | None, float | None]:
    """The event of a line and its time; None for what is none, or has an overlong text."""
    found = events.read_lines(line)
    if not found:
        return None, None
    event = events.from_dict(found[0])
    if isinstance(event, Phase):
        event = Phase(printable(event.name, 60), printable(event.detail, 300), event.part, event.parts)
    return event, events.real(found[0].get("time"))


def _diagnosis(id: str, cause: str, advice: str) -> Diagnosis:  # noqa: A002 - the field of a Diagnosis
    return Diagnosis(id, printable(cause, LONGEST_TEXT), "", printable(advice, LONGEST_TEXT))
