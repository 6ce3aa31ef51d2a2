"""The supervision of one job: runs its commands one after another, has its watch read them, and stops them."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import time
from typing import Literal

from trainer_core.errors import JobError
from trainer_core.events import Notice, Phase, StateChange
from trainer_core.jobs import kind as kinds
from trainer_core.jobs import processes, program
from trainer_core.jobs.adoption import NOT_STARTED, Adopted
from trainer_core.jobs.folder import PROGRAM, PROGRAM_END, STOP, SUPERVISOR, JobFolder
from trainer_core.jobs.gauges.watch import GaugeWatch
from trainer_core.jobs.heartbeat import Heartbeat
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.moved import Place
from trainer_core.jobs.outcome import OUT_OF_MEMORY, Diagnosis, End, Outcome
from trainer_core.jobs.program import Program
from trainer_core.jobs.spec import Step
from trainer_core.jobs.state import JobState
from trainer_core.jobs.stop_request import StopRequest

POLL_S = 0.25
NOTICE = "EASEL_SHUTDOWN_NOTICE"
"""The environment variable with the path of a file that appears when the machine is about to be taken away."""
SAVE_S = 20.0
"""How long a program that was asked to save may take for it. Rented machines give 30 seconds or more before they end."""
LAST_GRACE_S = 30.0
"""A program whose work is done elsewhere ends by itself after a stop; without any grace it has this many seconds to pass it on."""
AGAIN_S = 2.0
"""Between two starts of a program that ended too early; twice as long each time."""
STOP_AFTER_SAVE = "This job stops after it has saved its next checkpoint."


class TakenOverError(JobError):
    """Another supervisor has this job now, or can get it only after this one: it must write nothing more."""


class LeftError(TakenOverError):
    """This machine shuts down, and the work of the job goes on elsewhere: its next supervisor here goes on."""


class Supervision:
    """Runs the commands of one job, from the start of the first to the end of the last.

    `adopted` is what is known of the supervisor that ran the job before; None for a job that starts now. `place` keeps the
    folder in reach.
    """

    def __init__(
        self, folder: JobFolder, token: str = "", adopted: Adopted | None = None, place: Place | None = None
    ) -> None:
        self.folder, self.token, self.place = folder, token, place
        self.spec = folder.spec
        self.kind = kinds.get(self.spec.kind)
        self.is_adopted = adopted is not None
        self._follows, self._starts = (adopted.follows, adopted.starts) if adopted else (True, True)
        if adopted is None:
            self.journal = Journal(folder.events, self.spec.total_steps)
        else:
            self.journal = Journal.reopen(folder.events, adopted.heard.places, self.spec.total_steps)
        self.watch = self.kind.watch(folder, self.journal)
        self._elsewhere = self.watch if isinstance(self.watch, kinds.Elsewhere) else None
        self.gauges = GaugeWatch(folder, self.journal, self.spec.steps[-1].environment)
        if adopted is not None:
            self.gauges.peaks.go_on(adopted.heard.peak_bytes, adopted.heard.peak_gpu_bytes)
        self.heart = Heartbeat(folder, token, self.journal, place)
        self.got_signal = False
        self._saved: int | None = None
        self._save_until: float | None = None

    def run(self) -> Outcome:
        """Runs the commands until one fails or a stop is requested; returns how the job ended.

        Raises:
            TakenOverError: another supervisor has the job now.
        """
        number = program.current_number(self.folder, len(self.spec.steps)) if self.is_adopted else 0
        was_stopping = self.journal.state == JobState.STOPPING.name
        if not number and self.stop_request is not None:
            return Outcome(JobState.CANCELLED)
        self.journal.write(StateChange(JobState.RUNNING.name, "A new supervisor goes on." if self.is_adopted else ""))
        self._beat()
        end = self._go_on(number) if number else None
        if end is not None:
            end = self._again(number, end)
        if end is not None and was_stopping and end.how in ("by itself", "unseen"):
            end = dataclasses.replace(end, how="stop")
        end, number = self._run_steps(number, end)
        self.heart.finishing()
        self.watch.finish()
        ended = self.watch.outcome(end)
        if self._elsewhere is not None:
            return ended
        if ended.state is JobState.FAILED and end.how == "by itself" and end.exit_code and self.gauges.kills.lately():
            # The kernel's own word: what the log says of it is a consequence at most.
            ended.diagnosis = OUT_OF_MEMORY
        ended.exit_code = end.exit_code
        step = self.spec.steps[max(0, number - 1)]
        return _with_step(ended, step) if len(self.spec.steps) > 1 and end.exit_code != 0 else ended

    def _run_steps(self, number: int, end: End | None) -> tuple[End, int]:
        """Runs the steps after this one, unless it ended otherwise than well; returns the last end, and of which step."""
        parts = len(self.spec.steps)
        while number < parts and (end is None or (end.how == "by itself" and end.exit_code == 0)):
            if not self._starts:
                self.journal.write(Notice("warning", NOT_STARTED))
                return End(None, "unseen"), number
            if self.stop_request is not None:
                return End(None, "stop"), number + 1
            number += 1
            step = self.spec.steps[number - 1]
            if parts > 1:
                self.journal.write(Phase(step.name, part=number, parts=parts))
            end = self._again(number, self._run_step(number, step))
        return end or End(None, "stop"), number

    def _run_step(self, number: int, step: Step) -> End:
        """How the command ended."""
        mine = {
            "COLUMNS": "300",
            "PYTHONUNBUFFERED": "1",
            **{name: os.environ[name] for name in self.spec.keeps if name in os.environ},
            **step.environment,
        }
        try:
            started = program.start(self.folder, number, step, self.spec.working_directory, mine)
        except (OSError, ValueError) as error:
            return self._not_started(step, getattr(error, "strerror", None) or str(error))
        return self._see_off(started, step)

    def _again(self, number: int, end: End) -> End:
        """How a command ended that is started again as long as its watch says so."""
        wait_s = AGAIN_S
        while self._elsewhere is not None and self._starts and self._elsewhere.starts_again(end):
            until = time.monotonic() + wait_s
            while time.monotonic() < until:
                self._leave()
                self._look()
                self._beat()
                time.sleep(POLL_S)
            wait_s *= 2
            for record in (PROGRAM_END, PROGRAM):
                (self.folder.path / record).unlink(missing_ok=True)
            end = self._run_step(number, self.spec.steps[number - 1])
        return end

    def _leave(self, running: Program | None = None) -> None:
        """Ends this supervisor without a result if the machine shuts down, and the work of the job goes on elsewhere.

        Raises:
            LeftError: that is so.
        """
        if self._elsewhere is None or not (self.got_signal or self._is_announced()):
            return
        if running is not None:
            running.kill()
        self.watch.finish()
        self._beat()
        raise LeftError("This machine shuts down.")

    def _go_on(self, number: int) -> End:
        """How the command ended that an earlier supervisor had started."""
        if not self._follows:
            return program.recorded_end(self.folder, number)
        resumed, step = program.resumed(self.folder, number), self.spec.steps[number - 1]
        return End(None, "unseen") if resumed is None else self._see_off(resumed, step)

    def _see_off(self, running: Program, step: Step) -> End:
        """Follows the program to its end; returns how it ended."""
        how, found = self._follow(running)
        # Read the rest of its output before the next command adds to it.
        self._look()
        exit_code, error = running.exit_code(), running.error()
        running.close()
        self._end_leftovers()
        if error is not None:
            return self._not_started(step, error)
        if exit_code is None and how == "by itself":
            return End(None, "unseen")
        return End(exit_code, how, found, by_system=how == "stop" and self.got_signal)

    def _not_started(self, step: Step, why: str) -> End:
        with self.folder.log.open("a", encoding="utf-8", errors="surrogateescape") as log:
            log.write(f"The program cannot be started: {step.argv[0]}: {why}.\n")
        return End(None, "not started")

    def _follow(self, running: Program) -> tuple[Literal["by itself", "stop", "watch"], Diagnosis | None]:
        """Waits for the end of the program; returns how it ended, and why if the watch ended it."""
        while not running.ended(POLL_S):
            found = self._look()
            if self._elsewhere is None:
                self.gauges.look(running.roots, running.reserved)
            self._beat(running=running)
            self._leave(running)
            if found is not None:
                self._stop(running, StopRequest())
                return "watch", found
            request = self.stop_request
            if request is not None and self._is_due(request):
                self.journal.write(StateChange(JobState.STOPPING.name))
                self._stop(running, request)
                return "stop", None
        return "by itself", None

    def _look(self) -> Diagnosis | None:
        if self.place is not None:
            self.place.keep()
            if self.place.is_lost:
                raise TakenOverError("The folder of this job was moved; a new supervisor finds it there.")
        found = self.watch.look()
        self.journal.looked()
        return found

    @property
    def stop_request(self) -> StopRequest | None:
        """The stop that was requested; None if none was."""
        if self.got_signal or self._is_announced():
            return StopRequest(after="save" if self._waits_for_save() else "now")
        return StopRequest.from_dict(self.folder.read(STOP)) if self.folder.stop.exists() else None

    def _is_announced(self) -> bool:
        """Whether the machine has announced that it will be taken away, as rented ones do shortly before."""
        notice = os.environ.get(NOTICE, "")
        self.got_signal = bool(notice) and os.path.exists(notice)  # noqa: PTH110 - asked four times a second
        return self.got_signal

    def _waits_for_save(self) -> bool:
        """Whether the program was asked to save before the machine ends it, and there is time left for that."""
        if self._save_until is None:
            asked = self.watch.save_now()
            self._save_until = time.monotonic() + SAVE_S if asked else 0.0
        return time.monotonic() < self._save_until

    def _is_due(self, request: StopRequest) -> bool:
        """Whether to stop now: at once, or because a checkpoint was saved since the request."""
        if request.after == "now":
            return True
        if self._saved is None:
            self._saved = self.journal.checkpoints
            self.journal.write(Notice("info", STOP_AFTER_SAVE))
        return self.journal.checkpoints > self._saved

    def _stop(self, running: Program, request: StopRequest) -> None:
        """Asks the program's whole process group to end, and kills it if that takes too long.

        A later request with less time counts, too. One whose work is done elsewhere is killed only if it gets no time at all.
        """
        # A program whose work is done elsewhere passes the stop on, by programs of its own.
        ask = running.signal if self._elsewhere is None else running.tell
        ask(signal.Signals[self.spec.stop_signal])
        # A program that was paused gets no signal until it goes on.
        running.signal(signal.SIGCONT)
        began = time.monotonic()
        grace_s = request.grace_s
        while not running.ended(POLL_S):
            self._look()
            self._beat("stopping", running)
            later = StopRequest.from_dict(self.folder.read(STOP)) if self.folder.stop.exists() else request
            grace_s = min(grace_s, later.grace_s) if later.after == "now" else grace_s
            if time.monotonic() - began > self._limit_s(grace_s):
                running.kill()

    def _limit_s(self, grace_s: float) -> float:
        """After how many seconds a program is killed that was asked to end."""
        if self._elsewhere is None:
            return grace_s
        return math.inf if grace_s else LAST_GRACE_S

    def _beat(self, doing: str = "", running: Program | None = None) -> None:
        """Gives a sign of life if one is due, and looks whether the job still belongs to this supervisor."""
        self.heart.figures = self.gauges.peaks.totals()
        if not self.heart.beat(doing) or not self.token:
            return
        record = self.folder.read(SUPERVISOR)
        if record is not None and record.get("token") != self.token:
            if running is not None:
                running.kill()
            raise TakenOverError("Another supervisor has taken over this job.")

    def _end_leftovers(self) -> None:
        """Ends processes that the program left running; orphans outside its group have become children of this process."""
        self.gauges.close()
        for _ in range(3):
            left = processes.descendants()
            if self.is_adopted and self._follows:
                # Those of a program that an earlier supervisor started belong to no process of this one.
                left += processes.of_job(self.folder.path)
            if not left:
                break
            processes.kill(left)
            processes.reap()


def _with_step(ended: Outcome, step: Step) -> Outcome:
    """The outcome of a job with several steps, with the name of the step that failed."""
    if ended.state is not JobState.FAILED:
        return ended
    found = ended.diagnosis
    if found is not None:
        found = dataclasses.replace(found, cause=f"The step {step.name!r} failed. {found.cause}")
    return dataclasses.replace(ended, step=step.name, diagnosis=found)
