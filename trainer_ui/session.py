"""The state that all panels of a trainer share: the job that is being prepared, and what follows from it."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainer_core import hardware, places
from trainer_core.errors import PlanError
from trainer_core.install import hub_reach
from trainer_core.jobs.queueing import requests
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.plan import fields
from trainer_core.prepare.looking_after import look_after
from trainer_core.prepare.recall import SubjectMemory
from trainer_core.problems import Problem, blocking
from trainer_core.training.run import Run, list_runs, method_of
from trainer_ui import recipes
from trainer_ui.boundary import attempt
from trainer_ui.job_session import JobSession
from trainer_ui.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_core.engines.seam import Backend
    from trainer_core.estimate import Past
    from trainer_core.prepare.forecast import Forecast
    from trainer_core.prepare.workbench import Workbench

METHOD = "model.method"
LOOK_S = 10.0
"""How long a measurement of the free memory is used."""
SEVERITIES = ("error", "warning", "info")
"""The order in which problems are shown."""
WORTH_SHOWING_BYTES = 256 * 1024**2
"""By how much the free VRAM must change before the page is updated without an action of the user."""


class Session(Views):
    """A workbench and what follows from it (problems, values, forecast); `jobs` has the run that is shown."""

    def __init__(self, bench: Workbench, methods: Sequence[str] = ("lora",)) -> None:
        super().__init__()
        self.bench = bench
        bench.methods = self.methods = tuple(methods)
        """The training methods of the app; no other one is set, not even by a fix or by the settings of a run."""
        if bench.state.draft.values[METHOD] not in self.methods:
            bench.set({METHOD: self.methods[0]})
        self.jobs: JobSession[Run] = JobSession(self)
        self.backend: Backend | None = None
        self.problems: tuple[Problem, ...] = ()
        self.values: Mapping[str, Any] = {}
        self.scope = bench.state.scope
        self.forecast: Forecast | None = None
        self._looked_s = time.monotonic()
        self._waits_for_hub = False
        self.seek: Callable[[str], object] | None = None
        """Gives the keyboard to the field of a setting; set by an app that has such fields."""
        self.past: tuple[Past, ...] = ()
        """The finished runs of this machine, once a model is chosen."""
        self._past_of: tuple[Run | None, bool] | None = None
        self.memory = SubjectMemory(bench)
        self.asked = False
        """Whether Start was pressed: from then on the page lists what is missing."""
        self.is_method_chosen = False
        """Whether the user has chosen a method, in an app that has several."""
        self.started: Run | None = None
        """The last run that was started here."""
        self.before_taking: Callable[[Run], object] = lambda _: None
        """Keeps the form before the settings of a run replace it."""
        self.forgetting: list[Callable[[], object]] = []
        """What panels still say of the form, such as a download that failed: called when the user starts afresh."""
        self.wish = ""
        """The use that the user chose before a model was known; its profile is used once there is one."""

    @property
    def run(self) -> Run | None:
        """The run that is shown."""
        return self.jobs.job

    @property
    def trains_here(self) -> bool:
        """Whether the run that is shown is training on this machine."""
        return self.jobs.is_live and self.run is not None and not self.run.folder.where

    @property
    def starting(self) -> bool:
        """Whether a run is being started."""
        return self.jobs.starting

    def show(self) -> None:
        """Computes problems and forecast of the job, and calls every view, also when that fails."""
        with self.lock:
            attempt(self._compute, self.note)
            super().show()

    def _compute(self) -> None:
        self.bench.look()
        state = self.bench.state
        self.values, self.backend, self.scope = state.draft.values, state.backend, state.scope
        self._look_at_machine()
        self._wait_for_hub()
        self.forecast = self._look_ahead()
        found = (*map(self._offered, self.bench.problems), *(self.forecast.problems() if self.forecast else ()))
        self.problems = tuple(sorted(found, key=self._rank))

    def _rank(self, problem: Problem) -> tuple[int, bool, bool]:
        """The place of a problem in the list: the worst first, what is wrong before what is only empty, the whole job before one setting.

        What the job needs of the machine is not hidden behind details.
        """
        return SEVERITIES.index(problem.severity), self.lacks(problem), bool(problem.path)

    def _offered(self, problem: Problem) -> Problem:
        """The problem, without a fix that would set a method of another app."""
        sets = problem.fix.changes.get(METHOD) if problem.fix else None
        return problem if sets is None or sets in self.methods else replace(problem, fix=None)

    def _look_at_machine(self) -> None:
        """Measures the free memory in a thread, at most every few seconds: a driver may take long to answer."""
        if not self.bench.is_measured or time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        threading.Thread(target=lambda: attempt(self._measure, self.note), name="easel-machine", daemon=True).start()

    def _wait_for_hub(self) -> None:
        """Shows the page again once it is known whether the Hub can be reached, if that matters for the job."""
        hub = self.bench.state.facts.hub
        if hub is None or not hub.missing or hub.reach != "unknown" or self._waits_for_hub:
            return
        self._waits_for_hub = True

        def wait() -> None:
            known = hub_reach.reach(2 * hub_reach.TRIES_S)
            self._waits_for_hub = False
            if known != "unknown":
                self.show_soon()

        threading.Thread(target=wait, name="easel-hub-wait", daemon=True).start()

    def _measure(self) -> None:
        machine = hardware.machine(places.home())
        with self.lock:
            if not self.bench.is_measured:
                # Meanwhile another machine was chosen to train.
                return
            before = self.bench.state.facts.machine
            self.bench.use_machine(machine)
        if abs(machine.accelerator.free_vram_bytes - before.accelerator.free_vram_bytes) > WORTH_SHOWING_BYTES:
            self.show_soon()

    def _look_ahead(self) -> Forecast | None:
        """The forecast for the job, from the past runs of this machine; they are read once, and again after a run.

        None until a model is chosen, so that the start of a notebook does not wait until the runs are read.
        """
        if self.backend is None or self.bench.state.facts.detection is None:
            return None
        from trainer_core.estimate import find_gpu_processes, past_runs
        from trainer_core.prepare.forecast import forecast

        ended = self.run, self.run is not None and self.run.state in FINAL_STATES
        if self._past_of != ended:
            self._past_of, self.past = ended, past_runs(places.runs())
        return forecast(self.bench.state.draft, self.backend, self.past, find_gpu_processes)

    @property
    def has_method(self) -> bool:
        """Whether it is decided what to make: the app has one method, or the user chose one, a profile or a run."""
        return len(self.methods) == 1 or self.is_method_chosen or self.bench.state.profile is not None

    def begin_from(self, run: Run) -> None:
        """Takes over the settings of a run, with its method; what was in the form is kept before."""
        with self.lock:
            self.before_taking(run)
            self.bench.begin_from(run)
            self.is_method_chosen = True

    def change(self, values: Mapping[str, Any]) -> None:
        """Sets values of the user; a profile or preset for another family than that of the model is removed."""
        with self.lock:
            self.bench.set(values)
            self.is_method_chosen |= METHOD in values
            if "subject" in fields.decided_by(values):
                attempt(self.memory.follow, self.note)
            self._grant_wish()
            self.message = " ".join(self.bench.put_away_misfits()) or self.message

    def choose_method(self, method: str) -> None:
        """Trains with this method from now on, with the most fitting profile for it, at once or when the model is known."""
        with self.lock:
            self.is_method_chosen = True
            self.change({METHOD: method})
            attempt(self.memory.follow, self.note)
            self.wish_for(recipes.METHOD_USES[method])

    def wish_for(self, use: str) -> None:
        """Uses the most fitting profile with this use, at once or when the model is known; "" for no profile."""
        with self.lock:
            self.wish = use
            self.bench.use_profile("")
            self._grant_wish()

    def _grant_wish(self) -> None:
        if not self.wish or not self.bench.state.family:
            return
        found = recipes.for_use(self.bench.state, self.wish)
        if found is None:
            title = recipes.title(self.wish)
            self.note(f"There is no profile “{title}” for this model, so the recommended values are used.")
        else:
            self.bench.use_profile(found.id)
        self.wish = ""

    def lacks(self, problem: Problem) -> bool:
        """Whether the problem is only that a setting is still empty."""
        return problem.severity == "error" and self.values.get(problem.path, 0) in ("", None)

    def reset(self, path: str) -> None:
        """Removes the user's value of a setting."""
        with self.lock:
            self.bench.reset(path)

    def stopped_by(self) -> str:
        """Why the job cannot be started, in a sentence that refers to the list of problems; "" if it can."""
        stopping = blocking(self.problems)
        wrong = [one for one in stopping if not self.lacks(one)]
        if wrong:
            return "One thing stops it." if len(wrong) == 1 else f"{len(wrong)} things stop it."
        if stopping:
            return "Something is still missing."
        return "" if self.has_method else "Choose first what you want to make."

    def start(self) -> None:
        """Starts the job in a thread, because every image is decoded first."""
        if self.starting:
            return
        self.asked = True
        if reason := self.stopped_by():
            self.message = f"Not started. {reason}"
            return
        # The user may go on changing the job meanwhile: a workbench only ever replaces its state, so a copy keeps it.
        job = copy.copy(self.bench)
        if self.jobs.start(lambda: self._started(job), lambda: self._take_facts(job)):
            attempt(self.memory.keep, self.note)

    def _started(self, job: Workbench) -> Run:
        try:
            run = job.start()
        except PlanError as error:
            raise PlanError(f"Not started. {error.message}", error.hint, error.problems) from error
        with self.lock:
            self.started = run
            # A damaged image that is left out is only found when every image is decoded: the counts must show it.
            if self.bench.state.draft.text("dataset.path") == job.state.draft.text("dataset.path"):
                self.bench.state = self.bench.state.with_facts(dataset=job.state.facts.dataset)
        return run

    def _take_facts(self, job: Workbench) -> None:
        """Takes over what was found when every image was decoded, so that the problems list it."""
        self.bench.state = self.bench.state.with_facts(**vars(job.state.facts))

    def watch(self, run: Run | None) -> None:
        """Shows this run from now on."""
        self.jobs.follow(run)

    def watch_running(self) -> None:
        """Shows the newest run that is in progress, if there is one: the kernel may have been restarted.

        Lost runs get a new supervisor before, and the queue goes on.
        """
        requests.wake()
        runs = list_runs(places.runs())
        found = list_runs(places.runs()) if look_after(runs) else runs
        self.jobs.follow_live(run for run in found if run.is_live and method_of(run) in self.methods)
