"""The changes with which a failed run can be started again. Each was tried on the plan before it is offered.

They come from the signature that explains the failure. A change is offered if it differs from the plan, if the engine reads the
setting, if it brings no new Problem, and, after too little memory, if the estimate becomes lower.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer_core.engines import diagnosis, job_diagnosis
from trainer_core.engines.diagnosis import Amendment
from trainer_core.errors import EaselError, RunError
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.prepare import problems as job_problems
from trainer_core.prepare.forecast import forecast
from trainer_core.prepare.state import State
from trainer_core.prepare.workbench import Workbench
from trainer_core.problems import Problem
from trainer_core.training import resume
from trainer_core.training.folder import RESUMES
from trainer_core.training.run import Run

RETRIES = "retries"
"""The entry in versions.json that names the run that was started again."""
ALL = "All of these together"
PIXEL_STEP = 64
BATCH, ACCUMULATION = "schedule.batch_size", "schedule.gradient_accumulation"


@dataclass(frozen=True)
class Mended:
    """A changed plan for a failed run; `changes` are the new values by dotted path, `title` says what they do.

    `lowers` is the memory of which it needs less, "ram" or "vram"; "" if the run did not fail for lack of memory.
    """

    plan: TrainingPlan
    changes: Mapping[str, Any]
    title: str
    lowers: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The title and the changes as JSON data, one entry per setting."""
        changes = [{"path": path, "value": value} for path, value in self.changes.items()]
        return {"title": self.title, "changes": changes}


def fixes_for(run: Run) -> list[Mended]:
    """The changes that may let a failed run succeed, the best first; none for a run that did not fail.

    Raises:
        RunError: its plan is damaged.
        EaselError: its engine does not exist any more.
    """
    found = job_diagnosis.explained(run)
    if found is None:
        return []
    offered, lowers = diagnosis.amendments(found, job_diagnosis.signatures_of(run))
    if not offered:
        return []
    trial = _Trial(bench_from(run), lowers)
    mended = [one for each in offered if (one := trial.mended(each)) is not None]
    if not lowers:
        return mended
    # A lower resolution costs the most quality, so there is a combination without it, too.
    gentle = [one for one in mended if "dataset.resolution" not in one.changes]
    combined = [trial.together(each, mended) for each in ([gentle] if len(gentle) < len(mended) else []) + [mended]]
    return [*mended, *(one for one in combined if one is not None)]


def changes_of(run: Run, fix: Mended) -> list[str]:
    """What a fix changes in the plan of a run, a line for each setting: "Batch size: 4 → 2".

    Raises:
        RunError: the plan of the run is damaged.
    """
    before, known = fields.flatten(run.folder.plan), fields.all_fields()
    return [
        f"{known[path].title}: {_word(before.get(path, known[path].default))} → {_word(value)}"
        for path, value in fix.changes.items()
    ]


def bench_from(run: Run) -> Workbench:
    """A workbench with the settings and the engine of a run.

    Raises:
        RunError: its plan is damaged.
        EaselError: its engine does not exist any more.
    """
    bench = Workbench(engine=str(run.folder.versions.get("engine", "")))
    bench.begin_from(run)
    return bench


def bench_again(run: Run, fix: Mended | None = None) -> Workbench:
    """A workbench with the settings of a run and the changes of a fix, to start it again.

    Raises:
        RunError: the run has not ended, another run continues or repeats it now, or its plan is damaged.
    """
    if run.is_live:
        raise RunError(f"The run {run.name} has not ended yet.", f"Stop it first: easel runs stop {run.name}")
    if others := resume.going_on(run, RESUMES, RETRIES):
        other = others[0]
        does = "continues" if (other.folder.origin and other.folder.origin.run == run.name) else "repeats"
        raise RunError(
            f"The run {other.name} {does} {run.name} already ({other.state.value}).",
            f"Stop it first: easel runs stop {other.name}. A second run beside it: easel runs duplicate {run.name}",
        )
    bench = bench_from(run)
    bench.set(fix.changes if fix else {})
    return bench


class _Trial:
    """Tries changes on the settings of a run."""

    def __init__(self, bench: Workbench, lowers: str) -> None:
        self.bench, self.lowers = bench, lowers
        self.before = bench.state
        self.faults = _faults(self.before)
        self.need = _need(self.before, lowers) if lowers else 0.0

    def mended(self, amendment: Amendment) -> Mended | None:
        """The plan with one change; None if it is not possible or does not help."""
        changes = self._changes(amendment)
        return self._tried(changes, amendment.title or _title(changes)) if changes else None

    def together(self, several: Sequence[Mended], offered: Sequence[Mended]) -> Mended | None:
        """The plan with several of the offered changes; the title names them unless they are all of those.

        None if there are fewer than two, if two of them exclude each other, or if together they cause a problem.
        """
        changes: dict[str, Any] = {}
        for one in several:
            if any(changes.get(path, value) != value for path, value in one.changes.items()):
                return None
            changes |= one.changes
        is_all = len(several) == len(offered)
        title = ALL if is_all else f"Together: {'; '.join(one.title for one in several)}"
        return self._tried(changes, title) if len(several) > 1 else None

    def _changes(self, amendment: Amendment) -> dict[str, Any]:
        values, path = self.before.draft.usable_values, amendment.path
        if path == "native":
            return {path: {}} if values.get(path) else {}
        now, value = values[path], amendment.value
        if amendment.times is not None:
            value = _scaled(path, now, amendment.times)
        if value is None or value == now or not self.before.scope.applies(path):
            return {}
        changes = {path: value}
        if amendment.keeps_images and path == BATCH:
            changes[ACCUMULATION] = values[ACCUMULATION] * max(1, now // value)
        return changes

    def _tried(self, changes: Mapping[str, Any], title: str) -> Mended | None:
        state = self.bench.reader.read(self.before.set(changes), fields.decided_by(changes))
        backend = state.backend
        if backend is None or _faults(state) - self.faults:
            return None
        if self.lowers and not 0 < _need(state, self.lowers) < self.need:
            return None
        try:
            return Mended(job_problems.plan(state, backend), changes, title, self.lowers)
        except EaselError:
            return None


def _faults(state: State) -> set[tuple[str, str]]:
    """The errors and warnings of a job. Warnings count, because one may say that the engine ignores a setting."""
    found: Sequence[Problem] = job_problems.problems(state)
    return {(each.path, each.message) for each in found if each.severity != "info"}


def _need(state: State, lowers: str) -> float:
    """The most memory in GiB that the job is likely to need; 0 if that is not known."""
    seen = forecast(state.draft, state.backend)
    if seen is None:
        return 0.0
    return seen.estimate.ram_gib if lowers == "ram" else seen.estimate.vram_gib[1] or seen.estimate.ram_gib


def _scaled(path: str, now: Any, times: float) -> Any:
    """The value times a factor: rounded like the value, an image size to a multiple of 64 pixels."""
    if not isinstance(now, int | float) or isinstance(now, bool) or not now:
        return None
    if path == "dataset.resolution":
        return max(PIXEL_STEP, int(now * times) // PIXEL_STEP * PIXEL_STEP)
    return max(1, round(now * times)) if isinstance(now, int) else float(f"{now * times:.3g}")


def _title(changes: Mapping[str, Any]) -> str:
    """What the changes do, in words: the settings with their new values."""
    known = fields.all_fields()
    return ", ".join(f"{known[path].title}: {_word(value)}" for path, value in changes.items())


def _word(value: Any) -> str:
    if value is None or value in ("", {}):
        return "empty"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "set" if isinstance(value, dict) else str(value)
