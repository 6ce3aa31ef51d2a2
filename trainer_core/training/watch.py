"""Turns the output and files of a running engine into events, and decides how the run ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from trainer_core import events
from trainer_core.events import Checked, Checkpoint, Event, Notice, Phase, Progress, Sample, Step
from trainer_core.files import open_own
from trainer_core.jobs import tail
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.outcome import Diagnosis, End, Outcome
from trainer_core.jobs.state import JobState
from trainer_core.training.artefacts import ArtefactWatch
from trainer_core.training.basis import TENSORBOARD, Basis, Preloading
from trainer_core.training.checking import CheckpointTests, tested
from trainer_core.training.controls import Controls
from trainer_core.training.divergence import DivergenceWatch
from trainer_core.training.exiting import DOES_NOT_END, ExitWatch
from trainer_core.training.folder import INTERRUPTED
from trainer_core.training.metrics import TensorboardRecord
from trainer_core.training.mirroring import Mirroring
from trainer_core.training.outcome import Seen, conclude, not_finite
from trainer_core.training.space import SpaceWatch
from trainer_core.training.stall import TRAINING, StallWatch
from trainer_core.training.state_watch import StateWatch
from trainer_core.training.steps import NAN_STEPS, StepLedger

SETTLED_S = 1.0
"""If there is nothing new about a step for this many seconds, it is complete."""
HALF_LINE_S = 0.5
"""A progress bar without a line end is read if nothing was added for this many seconds."""
SILENCE_S = 600.0
FILES_EVERY_S = 1.0
SAVED, SAMPLING = "saved", "sampling"


class EngineWatch:
    """Reads the log, the engine's TensorBoard files and its output folder, and writes new events into the journal.

    It also tests each checkpoint when it is complete, and passes requests on to the engine. `clock` counts seconds; it is a
    parameter so that tests need not wait for minutes.
    """

    def __init__(self, basis: Basis, journal: Journal, clock: Callable[[], float] = time.monotonic) -> None:
        self._basis, self._journal, self._clock = basis, journal, clock
        self._parse, folder, spec = basis.backend.parse, basis.run, basis.spec
        self.steps = StepLedger(max(journal.steps, basis.done))
        self._log = journal.read_log(folder.log)
        self._record = TensorboardRecord(spec.metrics, self.steps) if spec.metrics.kind == TENSORBOARD else None
        self._artefacts = ArtefactWatch(folder.path, folder.output, spec.artefacts)
        goes_back = bool(basis.plan.get("guards", {}).get("back_after_nan"))
        is_good = self._is_good if goes_back else lambda _step: True
        self._states = StateWatch(folder, spec.artefacts.states, is_good, is_ours=basis.is_ours)
        self._controls = Controls(folder, spec)
        self.preloading = Preloading(spec.metrics.kind)
        self._tests = CheckpointTests(folder.path, lambda path: tested(path, basis.plan), self.preloading.done)
        self._exit = ExitWatch(basis, self.preloading.done)
        self._stall, self._divergence = StallWatch(), DivergenceWatch()
        self._mirroring = Mirroring(folder, basis.plan)
        self._space = SpaceWatch(folder.output, basis.plan.get("output", {}))
        self._heard = self._step_heard = clock()
        self._next_files = 0.0
        self._half = ""
        self._shown = (basis.done, 0.0)
        self._warned = self._has_result = False
        self._catch_up()

    def look(self) -> Diagnosis | None:
        """Reads what is new; returns a diagnosis if the loss is NaN for too many steps, or if the engine hangs at its end.

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
        self._journal.write(*self._tests.look())
        looks_at_files = now >= self._next_files
        if looks_at_files:
            self._next_files = now + FILES_EVERY_S
            self._look_at_files(now)
        steps = list(self.steps.take(silent=now - self._step_heard >= SETTLED_S))
        self._journal.write(*steps)
        self._warn(self._divergence.take(steps))
        self._warn(self._stall.look(now, self._journal.phase, self._basis.spec.total_steps, self._last_line))
        if now - self._heard >= SILENCE_S and not self._warned:
            self._warned = True
            minutes = round(SILENCE_S / 60)
            self._warn(
                f"The engine has printed nothing for {minutes} minutes. It may be busy with a long task, or it hangs; then stop the run."
            )
        if self.steps.nan_in_a_row >= NAN_STEPS:
            return not_finite(self.steps.nan_in_a_row, self.steps.given)
        return DOES_NOT_END if looks_at_files and self._hangs_at_exit(now) else None

    def finish(self) -> None:
        """Reads the rest after the engine has ended."""
        self._exit.close()
        while lines := self._log.lines():
            self._journal.write(*self._sorted([event for line in lines if (event := self._parse(line))], self._clock()))
        last = self._parse(self._log.pending) if self._log.pending else None
        self._journal.write(*self._sorted([last] if last else [], self._clock()))
        if self._record:
            self.preloading.wait()
            self._record.read()
        self._journal.write(*self.steps.finish(), *(self._record.validations() if self._record else ()))
        self._report(at_end=True)
        self._states.look(self.steps.given, at_end=True)

    def save_now(self) -> bool:
        """Asks the engine for a checkpoint, if the plan wants the run to be resumed after a shutdown."""
        return self._is_resumed and self._controls.request("save")

    @property
    def _is_resumed(self) -> bool:
        return bool(self._basis.plan.get("guards", {}).get("resume_after_shutdown"))

    def outcome(self, end: End) -> Outcome:
        """COMPLETED if the output is complete and accepted, whatever the exit code; it never depends on the engine."""
        self.preloading.wait()
        nan_from = self.steps.nan_since if self.steps.nan_in_a_row >= NAN_STEPS else 0
        seen = Seen(self._reached_last_step, nan_from, self.steps.given)
        ended = conclude(self._basis, end, seen, self._tests, self._journal.write)
        self._has_result = ended.state is JobState.COMPLETED
        # Every checkpoint is tested now, so a state that was kept only until then can go.
        self._states.look(self.steps.given, at_end=True)
        was_cut_off = end.by_system or ended.state is JobState.LOST
        if self._is_resumed and was_cut_off and ended.state is not JobState.COMPLETED:
            # Without space for it the user can still resume the run.
            with contextlib.suppress(OSError):
                (self._basis.run.path / INTERRUPTED).touch()
        return ended

    def _is_good(self, step: int) -> bool:
        """Whether the state of a step is one to go back to: its checkpoint passed its test.

        Of a step without a test so far, or without a checkpoint: whether a later step with these weights had a finite loss.
        """
        if self._has_result:
            return True
        verdicts = [each.ok for each in self._tests.checked.values() if each.step == step]
        finite = self.steps.nan_since - 1 if self.steps.nan_since else self.steps.given
        return any(verdicts) if verdicts else step < finite

    @property
    def _reached_last_step(self) -> bool:
        return self._shown[0] >= self._basis.spec.total_steps or self.steps.given >= self._basis.spec.total_steps

    def _hangs_at_exit(self, now: float) -> bool:
        if not self._reached_last_step and self._journal.phase != SAVED:
            return False
        return self._exit.hangs(now, self._heard, sampling=self._journal.phase == SAMPLING)

    def _catch_up(self) -> None:
        """Takes over what an earlier supervisor of this run has reported, so that nothing is reported or tested twice."""
        with open_own(self._basis.run.events) as file:
            reported = file.read()
        for line in events.read_lines(reported):
            match event := events.from_dict(line):
                case Step():
                    self.steps.know(event)
                    self._shown = (event.step, 0.0)
                case Checkpoint():
                    self._artefacts.know(event.path)
                    self._tests.add(event)
                case Sample():
                    self._artefacts.know(event.path)
                case Checked():
                    self._tests.know(event)
                case _:
                    pass

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
                position = Progress(event.step, self._basis.spec.total_steps, pace)
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
        if self._record and self.preloading.done() and self._record.read():
            self._step_heard = self._heard = now
            self._journal.write(*self._record.validations())
        found = self._report()
        if found:
            self._heard = now
        self._journal.write(*self._space.look(now, found))
        self._warn(self._mirroring.look(now, bool(found)))
        self._states.look(self.steps.given)
        self._tests.doubt(all_of_them=False)
        self._journal.write(*self._controls.look())

    def _report(self, at_end: bool = False) -> list[Checkpoint | Sample]:
        """Reports new checkpoints and samples, has the checkpoints tested, and returns them."""
        found = list(self._artefacts.look(self.steps.given, at_end))
        self._journal.write(*found)
        self._tests.add(*(each for each in found if isinstance(each, Checkpoint)))
        return found

    def _warn(self, text: str | None) -> None:
        if text:
            self._journal.write(Notice("warning", text))

    def _last_line(self) -> str:
        return self._log.pending.strip() or (tail.last_lines(self._basis.run.log) or [""])[-1]
