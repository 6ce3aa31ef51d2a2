"""The job being prepared and the run being watched: the one state that all panels of a notebook share."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from trainer_core import hardware, places
from trainer_core.errors import PlanError
from trainer_core.plan.applies import Scope
from trainer_core.problems import Problem, blocking
from trainer_core.runs.run import FINAL_STATES, Run, list_runs
from trainer_ui.boundary import attempt
from trainer_ui.recall import STANDS_ON, SubjectMemory

if TYPE_CHECKING:
    from trainer_core.backend import Backend
    from trainer_core.estimate import Past
    from trainer_core.outlook import Outlook
    from trainer_core.workbench import Workbench

LOOK_S = 10.0
"""How long a look at the machine's free memory holds."""
SEVERITIES = ("error", "warning", "info")
"""Worst first, as problems are shown."""
WORTH_SHOWING_BYTES = 256 * 1024**2
"""By how much a card's free memory must have changed for the page to be told without being asked."""


class Session:
    """A workbench, the run that is shown, and the views that show them.

    Handlers may run at the same time: Jupyter answers a widget in a thread of its own while a cell runs, and the feed
    has one too. So everything that changes or shows the job holds `lock`.
    """

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.lock = threading.RLock()
        self.run: Run | None = None
        self.starting = False
        self.message = ""
        """The last sentence that was said to the user, until their next action."""
        self.backend: Backend | None = None
        self.problems: tuple[Problem, ...] = ()
        self.values: Mapping[str, Any] = {}
        self.scope = Scope.of(bench.draft, None)
        self.outlook: Outlook | None = None
        self._looked_s = time.monotonic()
        self._past: tuple[bool, tuple[Past, ...]] | None = None
        self.memory = SubjectMemory(bench)
        self.follow: Callable[[Run | None], None] = _nowhere
        self._views: list[Callable[[], None]] = []
        self._showing = False
        self.unasked = False
        """Whether everything is shown anew by a thread. No widget is to be made then: JupyterLab would show nothing of a
        notebook whose page is opened just then."""

    def add_view(self, view: Callable[[], None]) -> None:
        """Has `view` called whenever the job or the run changed."""
        self._views.append(view)

    def show(self) -> None:
        """Works out how the job stands and lets every view show it."""
        with self.lock:
            self.values = self.bench.draft.values
            self.backend = self.bench.backend
            self._look_at_machine()
            self.outlook = self._look_ahead()
            found = (*self.bench.problems, *(self.outlook.problems() if self.outlook else ()))
            self.problems = tuple(sorted(found, key=lambda problem: SEVERITIES.index(problem.severity)))
            self.scope = Scope.of(self.bench.draft, self.backend)
            self._showing = True
            try:
                for view in self._views:
                    view()
            finally:
                self._showing = False

    def _look_at_machine(self) -> None:
        """Reads in a thread what is free, at most every few seconds: a driver may take long to answer."""
        if not self.bench.is_measured or time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        threading.Thread(target=lambda: attempt(self._measure, self.note), name="easel-machine", daemon=True).start()

    def _measure(self) -> None:
        machine = hardware.machine(places.home())
        with self.lock:
            before = self.bench.facts.machine
            self.bench.use_machine(machine)
        if abs(machine.accelerator.free_vram_bytes - before.accelerator.free_vram_bytes) > WORTH_SHOWING_BYTES:
            self.show_soon()

    def _look_ahead(self) -> Outlook | None:
        """What the job will take, by what the runs on this machine took; those are read once, and again after a run.

        None before there is a model to estimate for: the start of a notebook does not wait for the runs to be read.
        """
        if self.backend is None or self.bench.facts.detection is None:
            return None
        from trainer_core.estimate import past_runs
        from trainer_core.outlook import outlook

        ended = self.run is not None and self.run.state in FINAL_STATES
        if self._past is None or self._past[0] != ended:
            self._past = ended, past_runs(places.runs())
        return outlook(self.bench.draft, self.backend, self._past[1])

    def handler(self, action: Callable[[Any], None]) -> Callable[..., None]:
        """`action` as a callback of a widget: one at a time, with the boundary around it, and everything shown anew after it.

        It gets the new value, or the button. What a view sets while it shows is no action of the user, and not heard.
        """

        def call(event: Any = None, *_: Any) -> None:
            with self.lock:
                if self._showing:
                    return
                self.message = ""
                attempt(lambda: action(event["new"] if isinstance(event, Mapping) else event), self.note)
                attempt(self.show, self.note)

        return call

    def show_soon(self, sentence: str = "") -> None:
        """Has everything shown anew, with a sentence if there is one, and returns at once.

        For threads that must not wait: a handler may hold the lock for as long as it reads a large dataset, and a feed that
        stands still looks like a dead kernel.
        """

        def later() -> None:
            with self.lock:
                self.message, self.unasked = sentence or self.message, True
                attempt(self.show, self.note)
                self.unasked = False

        threading.Thread(target=later, name="easel-show", daemon=True).start()

    def note(self, sentence: str) -> None:
        """Keeps a sentence for the next time that the views show."""
        self.message = sentence

    def change(self, values: Mapping[str, Any]) -> None:
        """Takes values from the user; a profile or preset that is for another family than the model's is put away."""
        self.bench.set(values)
        if any(path in values for path in STANDS_ON):
            attempt(self.memory.follow, self.note)
        profile, preset, family = self.bench.profile, self.bench.preset, self.bench.family
        said = []
        if profile and family and profile.family != family:
            self.bench.use_profile("")
            said.append(f"The profile {profile.title} is for {profile.family}, so it was taken away.")
        if preset and family and not preset.suits(family):
            self.bench.use_preset("")
            said.append(f"The memory preset {preset.title} is for {', '.join(preset.families)}, so it was taken away.")
        self.message = " ".join(said) or self.message

    def lacks(self, problem: Problem) -> bool:
        """Whether a problem is that a setting is still empty, so that nothing is wrong with it."""
        return problem.severity == "error" and self.values.get(problem.path, 0) in ("", None)

    def reset(self, path: str) -> None:
        """Drops the user's value of a setting."""
        self.bench.reset(path)

    def start(self) -> None:
        """Starts the job in a thread, since every picture is read whole first."""
        if self.starting:
            return
        stopping = blocking(self.problems)
        if stopping:
            first, *others = stopping
            more = f" {len(others)} more to settle." if others else ""
            self.message = f"Not started. {first.message}{more}"
            return
        self.starting = True
        # The user may go on changing the job meanwhile: a workbench only ever replaces its draft, so a copy stays as it is.
        job = copy.copy(self.bench)
        attempt(self.memory.keep, self.note)
        threading.Thread(target=self._start, args=(job,), name="easel-start", daemon=True).start()

    def _start(self, job: Workbench) -> None:
        done = attempt(lambda: self.watch(self._started(job)), self.note)
        with self.lock:
            self.starting = False
            if not done:
                # What the thorough look found wrong is shown among the problems.
                self.bench.draft = self.bench.draft.with_facts(job.draft.facts)
            attempt(self.show, self.note)

    def _started(self, job: Workbench) -> Run:
        try:
            return job.start()
        except PlanError as error:
            raise PlanError(f"Not started. {error.message}", error.hint, error.problems) from error

    def watch(self, run: Run | None) -> None:
        """Shows this run from now on."""
        with self.lock:
            self.run, self._past = run, None
        self.follow(run)

    def watch_running(self) -> None:
        """Shows the newest run that has not ended, if there is one: the notebook may have been closed meanwhile."""
        self.watch(next((run for run in list_runs(places.runs()) if run.state not in FINAL_STATES), None))


def _nowhere(_: Run | None) -> None:
    """Stands in until a feed has come."""
