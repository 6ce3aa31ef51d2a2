"""Turns the output and files of a running engine into events."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from trainer_core.engines.seam import Backend, JobSpec
from trainer_core.errors import JobError
from trainer_core.events import Event, Notice, Phase, Progress, Step
from trainer_core.jobs import tail
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.kind import stopped
from trainer_core.jobs.outcome import Diagnosis, End, Outcome
from trainer_core.jobs.state import JobState
from trainer_core.training.artefacts import ArtefactWatch
from trainer_core.training.divergence import DivergenceWatch
from trainer_core.training.folder import RunFolder
from trainer_core.training.metrics import TensorboardRecord
from trainer_core.training.outcome import judge, not_finite
from trainer_core.training.space import SpaceWatch
from trainer_core.training.stall import TRAINING, StallWatch
from trainer_core.training.steps import NAN_STEPS, StepLedger

SETTLED_S = 1.0
"""If there is nothing new about a step for this many seconds, it is complete."""
HALF_LINE_S = 0.5
"""A progress bar without a line end is read if nothing was added for this many seconds."""
SILENCE_S = 600.0
FILES_EVERY_S = 1.0


class EngineWatch:
    """Reads the log, the engine's TensorBoard files and its output folder, and writes new events into the journal.

    `clock` counts seconds; it is a parameter so that tests need not wait for minutes.
    """

    def __init__(
        self,
        folder: RunFolder,
        spec: JobSpec,
        backend: Backend,
        journal: Journal,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.steps = StepLedger(journal.steps)
        self._folder, self._spec, self._manifest = folder, spec, backend.manifest
        self._parse, self._journal, self._clock = backend.parse, journal, clock
        self._log = journal.read_log(folder.log)
        self._record = TensorboardRecord(spec.metrics, self.steps) if spec.metrics.kind == "tensorboard" else None
        self._artefacts = ArtefactWatch(folder.path, folder.output, spec.artefacts)
        self._stall, self._divergence = StallWatch(), DivergenceWatch()
        self._space = SpaceWatch(folder.output, _output_settings(folder))
        self._heard = self._step_heard = clock()
        self._next_files = 0.0
        self._half = ""
        self._shown = (0, 0.0)
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
        steps = list(self.steps.take(silent=now - self._step_heard >= SETTLED_S))
        self._journal.write(*steps)
        self._warn(self._divergence.take(steps))
        self._warn(self._stall.look(now, self._journal.phase, self._spec.total_steps, self._last_line))
        if now - self._heard >= SILENCE_S and not self._warned:
            self._warned = True
            minutes = round(SILENCE_S / 60)
            self._warn(
                f"The engine has printed nothing for {minutes} minutes. It may be busy with a long task, or it hangs; then stop the run."
            )
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
                self._stall.step(event.step, now)
                self._shown = (event.step, now)
        return [*told, position] if position else told

    def _note(self, event: Step, now: float) -> None:
        if self._record is None:
            self.steps.note(event.step, event.loss, event.learning_rate)
            self._step_heard = now

    def _look_at_files(self, now: float) -> None:
        if self._record and self._record.read():
            self._step_heard = self._heard = now
        saved = list(self._artefacts.look(self.steps.given))
        self._journal.write(*saved, *self._space.look(now, saved))

    def _warn(self, text: str | None) -> None:
        if text:
            self._journal.write(Notice("warning", text))

    def _last_line(self) -> str:
        return self._log.pending.strip() or (tail.last_lines(self._folder.log) or [""])[-1]


def _output_settings(folder: RunFolder) -> Mapping[str, Any]:
    """The plan's settings of the output; empty without a readable plan, which is refused where it is needed."""
    try:
        return folder.plan.get("output", {})
    except JobError:
        return {}
