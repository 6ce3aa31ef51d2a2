"""A run, for whoever wants to start, watch or stop one. Any process can attach: all truth is in the folder."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from trainer_core import events, places
from trainer_core.backend import Backend
from trainer_core.diagnosis import Diagnosis
from trainer_core.errors import RunError
from trainer_core.events import Event
from trainer_core.plan.sections import MODEL_FILES, TrainingPlan
from trainer_core.runs import processes
from trainer_core.runs.directory import RunDirectory
from trainer_core.runs.place import check_installed, place_for
from trainer_core.runs.processes import Identity
from trainer_core.runs.state import FINAL_STATES, RunState
from trainer_core.runs.summary import RunSummary

if TYPE_CHECKING:
    from trainer_core.datasets.scan import Dataset
    from trainer_core.hardware import Machine

__all__ = ["FINAL_STATES", "Run", "RunState", "RunSummary", "list_runs"]

_START_S = 60.0
_POLL_S = 0.1
_READ_LIMIT = 8 << 20


class Run:
    """A handle on a run folder. Several processes may hold one on the same run; none of them owns it."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self._summary = RunSummary()
        self._offset = 0
        self._folding = threading.Lock()

    @classmethod
    def prepare(
        cls,
        plan: TrainingPlan,
        backend: Backend,
        dataset: Dataset | None = None,
        *,
        machine: Machine | None = None,
        folder: Path | None = None,
        chosen: Mapping[str, str] | None = None,
    ) -> Self:
        """A run that is ready to be launched: its folder with the staged dataset and the engine's files.

        `folder` is where run folders are kept; `dataset` is None only for an engine that needs no pictures; `chosen` are
        the ids of what values of the plan come from: "profile", "preset" and "policy".

        Raises:
            RunError: the folder cannot be written.
        """
        directory = RunDirectory.create(folder or places.runs(), plan.output_stem)
        with contextlib.ExitStack() as undo:
            undo.callback(directory.remove)
            plan = _with_absolute_paths(plan)
            captions = _stage(dataset, directory, plan) if dataset is not None else {}
            place = place_for(backend, directory.path, captions)
            spec = backend.render(plan, place)
            versions = {
                "engine": backend.manifest.id,
                "engine_version": place.version,
                "engine_python": str(place.python),
                **(chosen or {}),
            }
            directory.write_job(
                plan.model_dump(exclude_none=True), spec, versions, machine.to_dict() if machine else {}
            )
            undo.pop_all()
        return cls(directory)

    @classmethod
    def start(
        cls,
        plan: TrainingPlan,
        backend: Backend,
        dataset: Dataset | None = None,
        *,
        machine: Machine | None = None,
        folder: Path | None = None,
        chosen: Mapping[str, str] | None = None,
    ) -> Self:
        """A run that goes on when this process ends. Parameters as for `prepare`.

        Raises:
            RunError: the engine is not installed, or the runner cannot be started.
        """
        check_installed(backend)
        run = cls.prepare(plan, backend, dataset, machine=machine, folder=folder, chosen=chosen)
        run.launch()
        return run

    @classmethod
    def attach(cls, path: Path) -> Self:
        """The run in a folder, whoever started it.

        Raises:
            RunError: it is no run folder, or one of a newer Easel.
        """
        return cls(RunDirectory.open(path))

    def launch(self) -> None:
        """Starts the runner of a prepared run, in a session of its own.

        Raises:
            RunError: it was launched before, or the runner cannot be started.
        """
        if self.state is not RunState.PREPARED:
            raise RunError(
                f"The run in {self.directory.path} was started before.", "Start a new one from its plan.toml."
            )
        command = [sys.executable, "-P", "-m", "trainer_core.runs.runner", str(self.directory.path)]
        with self.directory.runner_log.open("ab") as log:
            starter = subprocess.Popen(
                command,
                cwd=self.directory.path,
                env=_runner_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = starter.wait(_START_S)
            except subprocess.TimeoutExpired:
                starter.kill()
                code = starter.wait()
            except KeyboardInterrupt:
                # Who gives up before a run is known to have begun must not find it going on.
                self._ask_to_stop(0.0)
                raise
        if code != 0:
            hint = f"{self.directory.runner_log} says why."
            raise RunError(f"The runner of {self.directory.path.name} could not be started.", hint)

    @property
    def state(self) -> RunState:
        """Where the run is in its life, as its files and processes say now."""
        if (ended := self._ended_state()) is not None:
            return ended
        runner = Identity.from_dict(self.directory.read("runner.json"))
        if runner is None:
            return RunState.PREPARED
        if runner.alive:
            return RunState.STOPPING if self.directory.stop.exists() else RunState.RUNNING
        # It may have ended well between the two looks.
        return self._ended_state() or RunState.LOST

    def _ended_state(self) -> RunState | None:
        result = self.directory.result
        return RunState.__members__.get(str(result.get("state"))) if result else None

    def events(self, since: int = 0) -> tuple[list[Event], int]:
        """The events after the byte offset `since`, and the offset to ask with next time.

        A line that is only half written is left for the next call.
        """
        found, offset = self._lines(since)
        read = (events.from_dict(line) for line in found)
        return [event for event in read if event is not None], offset

    def _lines(self, since: int) -> tuple[list[dict[str, Any]], int]:
        try:
            with self.directory.events.open("rb") as file:
                file.seek(since)
                added = file.read(_READ_LIMIT)
        except OSError:
            return [], since
        whole, end, _ = added.rpartition(b"\n")
        return events.read_lines(whole), since + len(whole) + len(end)

    @property
    def summary(self) -> RunSummary:
        """The run's figures: step, loss, speed, newest sample, checkpoints. Reads only what was added since last time."""
        with self._folding:
            if self._offset == 0:
                # Before the engine's first word, its job says how many steps there will be.
                self._summary = RunSummary(total=self.directory.total_steps)
            while True:
                found, offset = self.events(self._offset)
                if offset == self._offset:
                    return self._summary
                self._offset = offset
                self._summary = self._summary.after(found)

    @property
    def result(self) -> dict[str, Any] | None:
        """How the run ended; None while it has not.

        Always: `state`, and `outputs`, the files that were delivered, the LoRA first. From a runner also: `exit_code`,
        `acceptance`, `diagnosis`, `notices`, `started` and `ended` (seconds since 1970), `seconds`, `steps`,
        `peak_memory_bytes`, `peak_gpu_memory_bytes` (None without an NVIDIA GPU).
        """
        return self.directory.result

    @property
    def diagnosis(self) -> Diagnosis | None:
        """Why the run failed or was lost; None when it did not."""
        result = self.result or {}
        if found := result.get("diagnosis"):
            return Diagnosis(**{name: str(found.get(name, "")) for name in ("id", "cause", "line", "advice")})
        if self.state is not RunState.LOST:
            return None
        if self._engine_lives():
            advice = "The engine still works, unwatched. Stop the run, then start a new one from its plan.toml."
            return Diagnosis("lost", "The process that watched this run is gone.", "", advice)
        advice = "The machine may have been restarted, or ran out of memory. Start a new run from its plan.toml."
        return Diagnosis("lost", "This run ended without a result: the process that watched it is gone.", "", advice)

    def stop(self, grace_s: float = 10.0, wait: bool = True) -> RunState:
        """Ends the run and every process of it, and says how it ended; does nothing to one that has ended.

        The engine gets `grace_s` seconds to end by itself. Without `wait` the runner is only asked.
        """
        if self.state not in FINAL_STATES:
            self._ask_to_stop(grace_s)
        # A runner that is only starting is seen here, or sees the request before it starts the engine.
        if self.state is RunState.PREPARED:
            self.directory.write("result.json", {"state": RunState.CANCELLED.name, "outputs": [], "seconds": 0.0})
            return self.state
        runner = Identity.from_dict(self.directory.read("runner.json"))
        if self.state not in FINAL_STATES:
            if not wait:
                return self.state
            self._wait_for_runner(runner, grace_s + 20.0)
        if self._ended_state() is None:
            self._end_unwatched(runner, grace_s)
        return self.state

    def wait(self, timeout_s: float | None = None) -> RunState:
        """The state the run ended in, or is in after `timeout_s` seconds."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (state := self.state) not in FINAL_STATES and (deadline is None or time.monotonic() < deadline):
            time.sleep(_POLL_S)
        return state

    def _ask_to_stop(self, grace_s: float) -> None:
        """Leaves the file that asks for an end; where none can be written (the disk is full), a signal asks."""
        try:
            self.directory.write("stop", {"grace_s": grace_s})
        except OSError:
            runner = Identity.from_dict(self.directory.read("runner.json"))
            if runner and runner.alive:
                os.kill(runner.pid, signal.SIGTERM)

    def _wait_for_runner(self, runner: Identity | None, limit_s: float) -> None:
        """Waits until the runner is gone, not only its result there: it is a process of the run as well."""
        deadline = time.monotonic() + limit_s
        while runner and runner.alive and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def _end_unwatched(self, runner: Identity | None, grace_s: float) -> None:
        """Does the runner's work when there is none: ends what is left, and leaves a result if there was something to end."""
        if runner and runner.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(runner.pid, signal.SIGKILL)
        was_alive = self._engine_lives() or bool(processes.of_run(self.directory.path))
        number = signal.Signals[self.directory.spec.stop_signal]
        processes.end_run(self.directory.path, self._engine(), grace_s, number)
        if was_alive:
            result = {
                "state": RunState.CANCELLED.name,
                "exit_code": None,
                "outputs": [],
                "diagnosis": None,
                "ended": time.time(),
            }
            self.directory.write("result.json", result)

    def _engine(self) -> Identity | None:
        return Identity.from_dict(self.directory.read("engine.json"))

    def _engine_lives(self) -> bool:
        engine = self._engine()
        return engine is not None and engine.alive


def list_runs(folder: Path) -> list[Run]:
    """The runs below a folder, newest first. Folders that are no runs, or of a newer Easel, are left out."""
    found = []
    for path in sorted(folder.iterdir(), reverse=True) if folder.is_dir() else ():
        try:
            found.append(Run.attach(path))
        except RunError:
            continue
    return found


def _stage(dataset: Dataset, directory: RunDirectory, plan: TrainingPlan) -> Mapping[str, str]:
    """Stages the pictures and gives their captions by file name."""
    from trainer_core.datasets.stage import stage

    try:
        return stage(dataset, directory.dataset, plan.dataset.trigger).captions
    except OSError as error:
        message = f"The pictures cannot be staged in {directory.path}: {error.strerror or error}."
        raise RunError(message, "Check free space and rights.") from error


def _with_absolute_paths(plan: TrainingPlan) -> TrainingPlan:
    """The plan with the user's paths as runner and engine need them: both stand in the run folder.

    A link to a model is followed here, because sd-scripts reads the link of an SDXL model itself and takes a relative one
    for a path below its own folder. One whose target has another ending (the Hub's cache) is left to the engine.
    """
    output = plan.output
    model = {name: _followed(value) for name in MODEL_FILES if (value := getattr(plan.model, name))}
    changes = {
        name: str(places.typed(value).absolute()) for name in ("folder", "copy_to") if (value := getattr(output, name))
    }
    return plan.model_copy(
        update={"output": output.model_copy(update=changes), "model": plan.model.model_copy(update=model)}
    )


def _followed(text: str) -> str:
    path = places.typed(text).absolute()
    target = path.resolve()
    return str(target if target.suffix == path.suffix else path)


def _runner_environment() -> Mapping[str, str]:
    """This process's environment, with this package where the runner finds it. Its engine gets a cleaned one."""
    path = [os.environ.get("PYTHONPATH", "")]
    if places.CHECKOUT.name not in ("site-packages", "dist-packages"):
        path.insert(0, str(places.CHECKOUT))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in path if part)}
