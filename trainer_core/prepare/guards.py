"""What Easel does by itself when a run has ended too early, if its plan turns that on: see `GuardSettings`.

A guard starts a new run, which says why as its first notice and in its versions.json; the run that ended stays as it is.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from trainer_core import events
from trainer_core.engines import diagnosis, job_diagnosis
from trainer_core.errors import EaselError, JobError, RunError
from trainer_core.events import Notice, Step
from trainer_core.files import open_own
from trainer_core.jobs.journal import Journal
from trainer_core.plan import fields
from trainer_core.prepare import mending
from trainer_core.prepare.workbench import prepare_run
from trainer_core.training import resume, states
from trainer_core.training.folder import GUARD_FILE, INTERRUPTED, RESUMES
from trainer_core.training.run import Run

GUARD = "guard"
"""The entry in versions.json with the guard that started a run."""
CHEAPER, BACK, RESUMED = "cheaper-after-oom", "back-after-nan", "resume-after-shutdown"
ATTEMPTS = 3
"""How often in a row a run is started again with less."""
NAN = "nan-loss"
HALF = 0.5
ELSEWHERE = "Use a smaller resolution or batch size, or a machine with more memory."


def after_failure(run: Run) -> Run | None:
    """The run that a guard has started after a failure; None if no guard is on or applies, or if it can do nothing.

    If one applies and starts nothing, `guard.json` in the run folder says why.

    Raises:
        EaselError: the guard applies, but the new run could not be started; the message says why.
    """
    wanted, found = run.folder.guards, run.diagnosis
    if found is None:
        return None
    if wanted.get("back_after_nan") and found.id == NAN:
        return _acted(run, "back_after_nan", _go_back)
    if wanted.get("cheaper_after_oom") and _needs_less(run):
        return _acted(run, "cheaper_after_oom", _with_less)
    return None


class _NothingLeftError(RunError):
    """The guard applies, but there is nothing that it may still do."""


def _acted(run: Run, setting: str, act: Callable[[Run], Run]) -> Run | None:
    try:
        return act(run)
    except EaselError as error:
        title = fields.all_fields()[f"guards.{setting}"].title
        with contextlib.suppress(OSError):
            run.folder.write(GUARD_FILE, {"guard": title, "why": error.message, "advice": error.hint})
        if isinstance(error, _NothingLeftError):
            return None
        raise


def _needs_less(run: Run) -> bool:
    """Whether the run failed for lack of memory."""
    found = job_diagnosis.explained(run)
    return found is not None and bool(diagnosis.amendments(found, job_diagnosis.signatures_of(run))[1])


def resume_interrupted(runs: Iterable[Run]) -> list[Run]:
    """Resumes the runs that the machine had ended and that are to be resumed; returns the new runs.

    Each is tried once. Cheap for runs without the mark.
    """
    started = []
    for run in runs:
        mark = run.folder.path / INTERRUPTED
        if not mark.exists():
            continue
        # Only one process at a time succeeds in removing it.
        with contextlib.suppress(OSError):
            mark.unlink()
            with contextlib.suppress(EaselError):
                started.append(_resumed(run, RESUMED, "The machine had ended the run {name}"))
    return started


def _with_less(run: Run) -> Run:
    """The run again with the first change that needs less memory and keeps the effective batch size.

    Raises:
        EaselError: there is none, or the new run could not be started.
    """
    _refuse_beside(run)
    if _attempts(run) >= ATTEMPTS:
        raise _NothingLeftError(
            f"The run was started again with less {ATTEMPTS} times, and ran out of memory each time.", ELSEWHERE
        )
    offered = (fix for fix in mending.fixes_for(run) if fix.lowers and _keeps_batch(run, fix.changes))
    fix = next(offered, None)
    if fix is None:
        raise _NothingLeftError(
            "No change that Easel knows needs less memory and keeps the effective batch size and the images.", ELSEWHERE
        )
    bench = mending.bench_from(run)
    bench.set(fix.changes)
    notes = {mending.RETRIES: run.name, GUARD: CHEAPER}
    gpu = run.folder.versions.get("gpu")
    again = prepare_run(bench, gpu=gpu if isinstance(gpu, str) else None, notes=notes)
    return _launch(again, f"The run {run.name} ran out of memory, so this one was started with a change. {fix.title}.")


def _go_back(run: Run) -> Run:
    """The run continued from its last good state with half the rate.

    Raises:
        EaselError: that was done before, there is no such state, or the new run could not be started.
    """
    if any(each.folder.versions.get(GUARD) == BACK for each in resume.chain(run)):
        raise _NothingLeftError(
            "The run had gone back already, and the loss became NaN again with half the learning rate.",
            "Use a lower learning rate, or another optimizer.",
        )
    told = "The loss of the run {name} became NaN, so this one goes on with half the learning rate"
    return _resumed(run, BACK, told, step=_last_good_step(run), rate_times=HALF)


def _resumed(run: Run, guard: str, told: str, step: int | None = None, rate_times: float = 1.0) -> Run:
    """The run continued from a state.

    Raises:
        JobError: it cannot be continued.
    """
    _refuse_beside(run)
    found = resume.propose(run, step)
    again = resume.start(found, rate_times=rate_times, notes={GUARD: guard})
    return _launch(again, f"{told.format(name=run.name)}, from step {found.step} on.")


def _refuse_beside(run: Run) -> None:
    """Checks that no other run continues or repeats this one now.

    Raises:
        _NothingLeftError: somebody has started one.
    """
    if others := resume.going_on(run, RESUMES, mending.RETRIES):
        raise _NothingLeftError(f"The run {others[0].name} continues or repeats it already.", "Follow that one.")


def _launch(run: Run, told: str) -> Run:
    journal = Journal(run.folder.events)
    journal.write(Notice("info", told))
    journal.close()
    run.launch()
    return run


def _last_good_step(run: Run) -> int | None:
    """The step of the newest checkpoint that can be used, or else state, from before the NaN; None if none is known."""
    newest = (run.result or {}).get("newest_good")
    step = newest.get("step") if isinstance(newest, Mapping) else None
    if isinstance(step, int):
        return step
    finite = max((each.step for each in _steps(run) if each.loss is not None and math.isfinite(each.loss)), default=0)
    found = states.saved(run.folder, run.folder.rendered.artefacts.states, run.summary.last_step)
    return next((each.step for each in found if each.step < finite and not each.problem), None)


def _steps(run: Run) -> Iterable[Step]:
    with open_own(run.folder.events) as file:
        for line in file:
            if b'"step"' in line:
                yield from (each for row in events.read_lines(line) if isinstance(each := events.from_dict(row), Step))


def _attempts(run: Run) -> int:
    """How many runs before this one were started again with less, one after the other."""
    count, current = 0, run
    while current.folder.versions.get(GUARD) == CHEAPER and count < ATTEMPTS:
        count += 1
        try:
            current = Run.attach(current.folder.path.with_name(str(current.folder.versions.get(mending.RETRIES))))
        except JobError:
            break
    return count


def _keeps_batch(run: Run, changes: Mapping[str, Any]) -> bool:
    """Whether the effective batch size and what the images are stay the same."""
    if "dataset.resolution" in changes:
        return False
    schedule = run.folder.plan.get("schedule", {})
    size: Callable[[Mapping[str, Any]], int] = lambda values: (  # noqa: E731
        values.get(mending.BATCH, schedule.get("batch_size", 1))
        * values.get(mending.ACCUMULATION, schedule.get("gradient_accumulation", 1))
    )
    return size(changes) == size({})
