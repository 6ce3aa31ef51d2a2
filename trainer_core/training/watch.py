"""Turns the output and files of a running engine into events."""

from __future__ import annotations

import time
from collections.abc import Callable

from trainer_core.engines.seam import Backend, JobSpec
from trainer_core.events import Event, Notice, Phase, Progress, Step
from trainer_core.jobs import tail
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.kind import stopped
from trainer_core.jobs.outcome import Diagnosis, End, Outcome
from trainer_core.jobs.state import JobState
from trainer_core.jobs.tail import LogTail
from trainer_core.training.artefacts import ArtefactWatch
from trainer_core.training.folder import RunFolder
from trainer_core.training.metrics import TensorboardRecord
from trainer_core.training.outcome import judge, not_finite
from trainer_core.training.state_watch import StateWatch
from trainer_core.training.steps import NAN_STEPS, StepLedger

SETTLED_S = 1.0
"""If there is nothing new about a step for this many seconds, it is complete."""
HALF_LINE_S = 0.5
"""A progress bar without a line end is read if nothing was added for this many seconds."""
SILENCE_S = 600.0
FILES_EVERY_S = 1.0
TRAINING = "training"


class EngineWatch:
    """Reads the log, the engine's TensorBoard files and its output folder, and writes new events into the journal.

    `clock` counts seconds; it is a parameter so that tests need not wait for minutes. `done` steps were trained before.
    """

    def __init__(
        self,
        folder: RunFolder,
        spec: JobSpec,
        backend: Backend,
        journal: Journal,
        clock: Callable[[], float] = time.monotonic,
        done: int = 0,
    ) -> None:
        self.steps = StepLedger(done)
        self._folder, self._spec, self._manifest = folder, spec, backend.manifest
        self._parse, self._journal, self._clock = backend.parse, journal, clock
        self._log = LogTail(folder.log)
        self._record = TensorboardRecord(spec.metrics, self.steps) if spec.metrics.kind == "tensorboard" else None
        self._artefacts = ArtefactWatch(folder.path, folder.output, spec.artefacts)
        self._states = StateWatch(folder, spec.artefacts.states)
        self._heard = self._step_heard = clock()
        self._next_files = 0.0
        self._half = ""
        self._shown = (done, 0.0)
        self._warned = False

    def look(self) -> Diagnosis | None:
        """Reads what is new; returns a diagnosis if the loss is NaN or infinite for too many steps.

        Called a few times a second; it is fast if nothing is new.
        """
        now = self._clock()
        lines = self._log.lines()
        found = [event for line in lines if (event := self._parse(line)) is not None]
        if lines:
            self._heard, self._half, self._warned = now, "", False
        elif now - self._heard >= HALF_LINE_S:
            found += self._half_line()
        self._journal.write(*self._sorted(found, now))
        if now >= self._next_files:
            self._next_files = now + FILES_EVERY_S
            self._look_at_files(now)
        self._journal.write(*self.steps.take(silent=now - self._step_heard >= SETTLED_S))
        if now - self._heard >= SILENCE_S and not self._warned:
            self._warned = True
            minutes = round(SILENCE_S / 60)
            text = f"The engine has printed nothing for {minutes} minutes. It may be busy with a long task, or it hangs; then stop the run."
            self._journal.write(Notice("warning", text))
        lost = self.steps.nan_in_a_row >= NAN_STEPS
        return not_finite(self.steps.nan_in_a_row, self.steps.given) if lost else None

    def finish(self) -> None:
        """Reads the rest after the engine has ended."""
        while lines := self._log.lines():
            self._journal.write(*self._sorted([event for line in lines if (event := self._parse(line))], self._clock()))
        last = self._parse(self._log.pending) if self._log.pending else None
        self._journal.write(*self._sorted([last] if last else [], self._clock()))
        if self._record:
            self._record.read()
        self._journal.write(*self.steps.finish())
        self._journal.write(*self._artefacts.look(self.steps.given, at_end=True))
        self._states.look(self.steps.given, at_end=True)

    def outcome(self, end: End) -> Outcome:
        """COMPLETED if the output is accepted, whatever the exit code."""
        if (ended := stopped(end)) is not None:
            return ended
        if end.exit_code is None:
            cause = tail.last_lines(self._folder.log)[-1]
            advice = f"Check the engine with: easel backends verify {self._spec.backend}"
            return Outcome(JobState.FAILED, diagnosis=Diagnosis("not-started", cause, "", advice))
        return judge(self._folder, self._spec, self._manifest, end.exit_code)

    def _half_line(self) -> list[Event]:
        """The event of a progress bar that waits for its next redraw. Other unfinished lines are left until they end."""
        if self._log.pending == self._half:
            return []
        self._half = self._log.pending
        event = self._parse(self._half)
        return [event] if isinstance(event, Progress | Step) else []

    def _sorted(self, found: list[Event], now: float) -> list[Event]:
        """The events to write: steps go to the ledger, and only the last position of the progress bar is kept."""
        position: Progress | None = None
        told: list[Event] = []
        before, began = self._shown
        for event in found:
            if not isinstance(event, Step | Progress):
                told.append(event)
                continue
            self.steps.saw(event.step)
            if isinstance(event, Step):
                self._note(event, now)
                pace = (now - began) / (event.step - before) if began and event.step > before else None
                position = Progress(event.step, self._spec.total_steps, pace)
            else:
                position = event
            if event.step > self._shown[0]:
                # After a sample or a checkpoint the engine does not print that it trains again.
                told.append(Phase(TRAINING))
                self._shown = (event.step, now)
        return [*told, position] if position else told

    def _note(self, event: Step, now: float) -> None:
        if self._record is None:
            self.steps.note(event.step, event.loss, event.learning_rate)
            self._step_heard = now

    def _look_at_files(self, now: float) -> None:
        if self._record and self._record.read():
            self._step_heard = self._heard = now
        self._journal.write(*self._artefacts.look(self.steps.given))
        self._states.look(self.steps.given)
