"""What can be done with a run now: to stop it, to ask its engine for something, to continue it. Each says beforehand what it does."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from trainer_core.engines import registry
from trainer_core.engines.seam import Request
from trainer_core.errors import EaselError, JobError, RunError
from trainer_core.jobs import kind
from trainer_core.jobs.folder import STOP, json_object
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.jobs.stop_request import StopRequest
from trainer_core.training import controls

if TYPE_CHECKING:
    from trainer_core.jobs.job import Job
    from trainer_core.training.run import Run

ASKED: tuple[tuple[Request, str], ...] = (
    ("sample", "Sample now"),
    ("save", "Save now"),
)
"""What an engine can be asked for: the request and its title."""


@dataclass(frozen=True)
class Action:
    """Something that can be done with a run.

    `brief` says in a few words what it does, or why it is not possible; `sentence` says it in full.
    """

    id: str
    title: str
    brief: str
    sentence: str
    possible: bool = True

    def as_dict(self) -> dict[str, Any]:
        """The action as JSON data."""
        return asdict(self)


def of_live(run: Run) -> tuple[Action, ...]:
    """What can be done with a run that has not ended; nothing for one that has.

    Raises:
        JobError: its folder is damaged.
    """
    state = run.state
    if state in FINAL_STATES:
        return ()
    if state in (JobState.QUEUED, JobState.PREPARED):
        return (Action("stop", "Cancel", "it has not begun", "The run is cancelled. It stays in the history."),)
    asked = tuple(_asked(run, *row) for row in ASKED)
    return (*asked, _stop_after_save(run, state), stop_of(run, state))


def of_ended(run: Run) -> tuple[Action, ...]:
    """How a run that has ended can go on: from its last state, or by more steps. Reads its saved states, which may take a second.

    Raises:
        JobError: its folder is damaged.
    """
    state = run.state
    if state not in FINAL_STATES:
        return ()
    if state is JobState.COMPLETED:
        return (_continued(run, "extend", "Extend", 1),)
    return (_continued(run, "resume", "Resume", 0),)


def _asked(run: Run, request: Request, title: str) -> Action:
    answer = controls.can(run, request)
    control = run.folder.rendered.controls.get(request)
    if answer.possible and control is not None:
        return Action(request, title, control.when, answer.sentence)
    brief = "not at this moment" if control is not None else _lacking(run, request)
    return Action(request, title, brief, answer.sentence, possible=False)


def _lacking(run: Run, request: Request) -> str:
    spec = run.folder.rendered
    if request == "sample" and spec.controls:
        return "this run has no samples"
    with contextlib.suppress(EaselError):
        return f"not with {registry.get(spec.backend).manifest.title}"
    return "not with this engine"


def _stop_after_save(run: Run, state: JobState) -> Action:
    title = "Stop after save"
    step, sentence = next_save(run), "The run goes on until it has saved its next checkpoint, and then ends."
    if run.saves() is False:
        sentence = "This run saves no checkpoint on its way, so it would not stop before its end."
        return Action("stop-after-save", title, "only saves at its end", sentence, possible=False)
    if is_asked_to_stop(run):
        return Action("stop-after-save", "Stops after save", _at(step), sentence, possible=False)
    return Action("stop-after-save", title, _at(step), sentence, possible=state is JobState.RUNNING)


def _at(step: int) -> str:
    return f"at step {step:,}" if step else "the next one"


def stop_of(run: Job, state: JobState) -> Action:
    """The stop of a job of any kind that has not ended."""
    # An engine may have deleted older ones, as the plan asks for.
    kept = [each for each in run.summary.checkpoints if (run.folder.path / each.path).exists()]
    if not run.spec.total_steps:
        brief, sentence = "ends all of its programs", _left_by(run)
    elif not kept:
        brief, sentence = "nothing is saved yet", "Nothing was saved yet, so its result is lost."
    else:
        step = max(each.step for each in kept)  # 0 if no file name contains it
        brief = f"keeps {len(kept)} checkpoint{'s' if len(kept) > 1 else ''}"
        sentence = f"What was saved so far stays{f', up to step {step:,}' if step else ''}."
    if state is JobState.STOPPING:
        return Action("stop", "Stopping", brief, sentence, possible=False)
    return Action("stop", "Stop", brief, sentence)


def _left_by(job: Job) -> str:
    """What a stop leaves of a job that makes no checkpoints."""
    with contextlib.suppress(JobError):
        own = kind.get(job.spec.kind)
        if isinstance(own, kind.Stops):
            return own.stopped
    return "What it has made so far may be removed."


def is_asked_to_stop(run: Run) -> bool:
    """Whether the run was asked to stop after its next checkpoint."""
    asked = json_object(run.host.read(run.folder.path / STOP)[0])
    return asked is not None and StopRequest.from_dict(asked).after == "save"


def next_save(run: Run) -> int:
    """The step after which the run saves its next checkpoint; 0 if its plan does not say."""
    # A run that continues another one has reported no step of its own at first.
    done = max(run.summary.step, run.folder.done_steps)
    return next((step for step in save_steps(run) if step > done), 0)


def save_steps(run: Run) -> range:
    """The steps after which the run saves a checkpoint, by its plan; none if the plan cannot be read."""
    try:
        every = run.folder.plan.get("output", {}).get("save_every_steps")
    except JobError:
        return range(0)
    if not isinstance(every, int) or isinstance(every, bool) or every <= 0:
        return range(0)
    total = run.summary.total
    return range(every, (total or every) + 1, every)


def _continued(run: Run, name: str, title: str, added: int) -> Action:
    # Loads much that a notebook does not need before a run has ended.
    from trainer_core.training import resume

    try:
        found = resume.propose(run, added=added)
    except JobError as error:
        brief = error.brief if isinstance(error, RunError) else ""
        return Action(name, title, brief or "not possible", str(error), possible=False)
    if added:
        sentence = f"The weights and the optimizer continue after step {found.step:,}, for as many steps as you choose."
        return Action(name, title, f"more steps after {found.step:,}", sentence)
    sentence = (
        f"The run goes on after step {found.step:,}, to its planned end at step {found.total:,}, in a new folder."
    )
    return Action(name, title, f"goes on after step {found.step:,}", sentence)
