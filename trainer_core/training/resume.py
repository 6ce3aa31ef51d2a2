"""Continues a run from a saved state: to its planned end, or, if it is finished, by more steps. The new run has a new folder.

What will happen is known before anything starts: `propose` reads the run and returns it, `start` does it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer_core import places
from trainer_core.engines import registry
from trainer_core.engines.continuation import Continuation
from trainer_core.engines.seam import Backend, ResumePoint, StatePattern
from trainer_core.engines.status import EngineStatus
from trainer_core.errors import JobError, RunError
from trainer_core.hardware import Machine, free_disk_bytes
from trainer_core.install.place import at_place, check_installed, place_for
from trainer_core.jobs.folder import writing
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import blocking
from trainer_core.text import size
from trainer_core.training import amd, hub_need, numbers, restage, states
from trainer_core.training import gpu as gpus
from trainer_core.training.facts import facts
from trainer_core.training.folder import RESUMES, Origin, RunFolder
from trainer_core.training.history import related
from trainer_core.training.run import Run
from trainer_core.training.states import SavedState

NAMED = 3
"""How many names of images a sentence contains."""


@dataclass(frozen=True)
class Proposal:
    """How a run would continue. `step` is the last step that was trained, `total` the last step of the new run.

    `distrust` is why the state needs the user's trust, "" if it does not. `warnings` are sentences that the user should agree
    to, `notes` other sentences, such as which states cannot be used.
    """

    run: Run
    backend: Backend
    plan: TrainingPlan
    state: SavedState
    total: int
    schedule_from: int
    continuation: Continuation
    distrust: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def step(self) -> int:
        """The last step that was trained."""
        return self.state.step

    @property
    def extends(self) -> bool:
        """Whether a finished run gets more steps, with a new learning-rate schedule."""
        return self.schedule_from == self.step

    def as_dict(self) -> dict[str, Any]:
        """The proposal as JSON data."""
        return {
            "run": self.run.name,
            "state": self.state.path,
            "step": self.step,
            "total": self.total,
            "steps": self.total - self.step,
            "exact": self.continuation.exact and not self.extends,
            "continues": self.continuation.continues,
            "restarts": self.continuation.restarts,
            "learning_rate": learning_rate(self),
            "state_bytes": self.state.size_bytes,
            "free_disk_bytes": free_disk_bytes(self.run.folder.path),
            "distrust": self.distrust,
            "warnings": self.warnings,
            "notes": self.notes,
        }


def propose(run: Run, step: int | None = None, added: int = 0) -> Proposal:
    """How a run would continue from its newest whole state, or from that of a step; by `added` steps if it is finished.

    Raises:
        JobError: it cannot be continued, with the reason.
    """
    folder = run.folder
    if where := folder.where:
        raise RunError(
            f"This run was trained on {where}, and its saved states are there.",
            f"Go on with it there: easel runs {'extend' if added else 'resume'} {run.name}",
            f"on {where}, in a terminal",
        )
    _check_ended(run, added)
    backend = registry.get(folder.rendered.backend)
    continuation, pattern = backend.manifest.resume, folder.rendered.artefacts.states
    if continuation is None:
        raise RunError(
            f"{backend.manifest.title} cannot continue a training.",
            "Start a new run from its plan.toml.",
            f"not with {backend.manifest.title}",
        )
    plan, planned = _plan_of(folder), folder.rendered.total_steps
    if added:
        _check_extension(plan, backend, continuation)
    found = states.saved(folder, pattern, _last_step(run))
    chosen, distrust, notes = _choose(folder, [each for each in found if each.step <= planned], step)
    if pattern is None or (not added and chosen.step >= planned):
        raise RunError(
            f"The state of step {chosen.step} is the end of the training; there is nothing left to train.",
            f"Add steps with: easel runs extend {run.name} --steps N",
            "no step is left",
        )
    if added and chosen.step < planned:
        notes.append(f"The last state is of step {chosen.step}, so the steps after it, up to {planned}, do not count.")
    schedule_from = chosen.step if added else (folder.origin.schedule_from if folder.origin else 0)
    total = chosen.step + added if added else planned
    plan = plan.model_copy(update={"schedule": plan.schedule.model_copy(update={"steps": total})})
    if added:
        _check_length(plan, folder, backend)
    _check_paths(plan, folder, backend)
    warnings = (*_continued(run), *_image_warnings(folder, backend), *_other_warnings(run, backend, chosen))
    return Proposal(run, backend, plan, chosen, total, schedule_from, continuation, distrust, warnings, tuple(notes))


def learning_rate(found: Proposal) -> str:
    """What the learning rate does in the new run, as a sentence."""
    schedule = found.plan.schedule
    warmup = f", warmup of {schedule.warmup_steps} steps" if schedule.warmup_steps else ""
    named = f"{schedule.scheduler}{warmup}"
    if found.extends:
        return f"{found.continuation.extends} ({named}; steps {found.step + 1} to {found.total})."
    return f"The learning rate follows the schedule of the plan ({named}) from step {found.step + 1} on."


def start(
    found: Proposal,
    *,
    trusted: bool = False,
    folder: Path | None = None,
    machine: Machine | None = None,
    rate_times: float = 1.0,
    notes: Mapping[str, str] | None = None,
    gpu: str = "",
    into: RunFolder | None = None,
) -> Run:
    """The new run, ready to `launch`, or to wait in the queue of `gpu`, the only GPU that it then sees.

    `trusted`: the user trusts a state that this Easel did not record; `folder` is the folder for run folders, or the run's own
    folder is the empty one `into`. The learning
    rates in the state are multiplied by `rate_times`; `notes` are more entries of versions.json.

    Raises:
        JobError: the state is not trusted, the engine is not installed, or the folder cannot be written.
    """
    if found.distrust and not trusted:
        raise RunError(found.distrust, "A state contains pickle files, which can run code when they are loaded.")
    if rate_times != 1 and not found.continuation.scales_rate:
        title = found.backend.manifest.title
        raise RunError(f"{title} cannot continue a training with another learning rate.", "Start a new run with it.")
    check_installed(found.backend)
    before, manifest = found.run.folder, found.backend.manifest
    after = into or RunFolder.create(folder or places.runs(), found.plan.output_stem)
    with contextlib.ExitStack() as undo:
        undo.callback(after.remove)
        try:
            captions = restage.dataset(before, after, manifest, found.plan)
            restage.caches(before, after, found.continuation)
            patterns = before.rendered.artefacts
            if not found.extends:
                # A finished run has delivered its own.
                restage.checkpoints(before, after, patterns.checkpoints, found.step)
            pattern = patterns.states or StatePattern("", "")
            state = restage.state(found.state.path, before, after, pattern, found.step)
            restage.record(found.state, state, before, after, pattern, is_as_saved=not found.distrust)
        except OSError as error:
            raise RunError(
                f"The new run in {after.path} cannot be prepared: {error.strerror or error}.",
                "Check the free disk space and the permissions.",
            ) from error
        point = ResumePoint(state, found.step, found.schedule_from, rate_times)
        place = dataclasses.replace(place_for(found.backend, after.path, captions), resume=point)
        spec = found.backend.render(at_place(found.plan, manifest, place), place)
        seen = gpus.visible_only(gpu, _kind_of(machine)) if gpu else gpus.seen_by(before.spec.steps)
        spec = dataclasses.replace(spec, steps=gpus.steps_on(spec.steps, {**amd.variables(machine), **seen}))
        origin = Origin(found.run.name, str(before.path), found.step, found.state.path.name, found.schedule_from)
        versions = {**_chosen(before), "engine": manifest.id, "engine_version": place.version}
        versions |= {"engine_python": str(place.python), "resumes": dataclasses.asdict(origin)}
        about = facts(found.plan, len(captions))
        with writing(after.path):
            about |= numbers.of_new(after.path, about["about"])
        versions |= {**about, **({"gpu": gpu} if gpu else {}), **(notes or {})}
        hardware = machine.to_dict() if machine else before.read("hardware.json") or {}
        keeps = hub_need.variables(found.plan, manifest)
        after.write_job(found.plan.model_dump(exclude_none=True), spec, versions, hardware, origin, keeps=keeps)
        undo.pop_all()
    return Run(after)


def chain(run: Run) -> list[Run]:
    """A run and those that it continues, the oldest first; ends where a folder is no longer there."""
    found, known = [run], {run.folder.path}
    while (origin := found[-1].folder.origin) is not None:
        try:
            earlier = Run.attach(Path(origin.folder))
        except JobError:
            break
        if earlier.folder.path in known:
            break
        known.add(earlier.folder.path)
        found.append(earlier)
    return found[::-1]


def _check_ended(run: Run, added: int) -> None:
    if run.state not in FINAL_STATES:
        raise RunError(f"The run {run.name} has not ended.", f"Stop it first: easel runs stop {run.name}")
    if run.host.alive(run.folder.path, "all"):
        raise RunError(f"A process of the run {run.name} is still there.", f"End it: easel runs stop {run.name}")
    finished = run.state is JobState.COMPLETED
    if finished and not added:
        raise RunError(f"The run {run.name} is finished.", f"Add steps with: easel runs extend {run.name} --steps N")
    if added and not finished:
        raise RunError(f"The run {run.name} is not finished.", f"Finish it first: easel runs resume {run.name}")


def _check_extension(plan: TrainingPlan, backend: Backend, continuation: Continuation) -> None:
    title, schedule = backend.manifest.title, plan.schedule.scheduler
    if not continuation.extends:
        raise RunError(
            f"{title} cannot extend a finished run.", "Start a new run with more steps.", f"not with {title}"
        )
    if continuation.extends_with and schedule not in continuation.extends_with:
        raise RunError(
            f"{title} cannot extend a run with the schedule {schedule}: its learning rate would not follow that schedule.",
            f"That works with: {', '.join(continuation.extends_with)}. Start a new run with more steps.",
            f"not with schedule {schedule}",
        )


def _plan_of(folder: RunFolder) -> TrainingPlan:
    try:
        return TrainingPlan.model_validate(folder.plan)
    except ValidationError as error:
        raise RunError(
            f"The plan.toml in {folder.path} does not fit this Easel: {error.errors()[0]['msg']}."
        ) from error


def _last_step(run: Run) -> int:
    """The last step that the run reported."""
    return max(run.summary.last_step, run.folder.done_steps)


def _choose(folder: RunFolder, found: Sequence[SavedState], step: int | None) -> tuple[SavedState, str, list[str]]:
    """The state to continue from, why it needs trust ("" if not), and notes about newer states that are not used.

    The newest whole one that this Easel recorded; without any, the newest whole one.

    Raises:
        RunError: there is none.
    """
    wanted = [state for state in found if step is None or state.step == step]
    doubtful: list[tuple[SavedState, str]] = []
    notes: list[str] = []
    for state in wanted:
        doubt = "" if state.problem else states.distrust(folder, state)
        if not state.problem and not doubt:
            return state, "", notes
        doubtful += [(state, doubt)] if doubt else []
        notes.append(f"The state of step {state.step} is not used: {f'{state.problem}.' if state.problem else doubt}")
    if doubtful:
        state, doubt = doubtful[0]
        return state, doubt, [note for note in notes if doubt not in note]
    known = ", ".join(str(state.step) for state in found if not state.problem)
    if step is not None and known:
        raise RunError(f"There is no whole state of step {step}.", f"It has states of these steps: {known}.")
    hint = "Start a new run from its plan.toml; output.keep_states keeps states that can be resumed."
    raise RunError(
        f"The run {folder.path.name} has no whole state to continue from. {' '.join(notes)}".strip(),
        hint,
        "no whole state was kept",
    )


def _check_length(plan: TrainingPlan, folder: RunFolder, backend: Backend) -> None:
    """Checks that the engine accepts the new number of steps.

    Raises:
        RunError: it has a blocking Problem that the plan did not have before.
    """
    try:
        machine = Machine.from_dict(folder.read("hardware.json") or {})
    except (KeyError, TypeError, ValueError):
        return
    status = EngineStatus(installed=True, version=place_for(backend, folder.path).version)
    before = {each.message for each in blocking(registry.problems_of(backend, _plan_of(folder), machine, status))}
    for found in blocking(registry.problems_of(backend, plan, machine, status)):
        if found.message not in before:
            raise RunError(
                f"{plan.schedule.steps} steps are not possible: {found.message}", "Add another number of steps."
            )


def _check_paths(plan: TrainingPlan, folder: RunFolder, backend: Backend) -> None:
    """Checks that the files of the plan and the images are still there.

    Raises:
        RunError: one is missing.
    """
    flat = fields.flatten(plan.model_dump())
    for setting in fields.paths():
        path = flat[setting.path]
        if path and not setting.about.written and setting.section != "dataset" and not Path(path).exists():
            raise RunError(
                f"{path} is no longer there ({setting.path}).", "Put it back, then resume the run.", "a file is gone"
            )
    if missing := restage.gone(folder, backend.manifest):
        raise RunError(
            f"Images of this run are no longer there: {_some(missing)}.",
            "Put them back into the dataset folder, then resume the run.",
            "images are gone",
        )


def going_on(run: Run, *how: str) -> list[Run]:
    """The runs that continue a run, or repeat it (`how`: "resumes", "retries"), and have not ended."""
    found = []
    for name, relation in related(run.name):
        if relation in how:
            with contextlib.suppress(JobError):
                other = Run.attach(places.runs() / name)
                found += [] if other.state in FINAL_STATES else [other]
    return found


def _continued(run: Run) -> list[str]:
    """A warning for each run that continues this one and has not ended."""
    return [
        f"{other.name} continues this run already ({other.state.value}). Both would train the same steps."
        for other in going_on(run, RESUMES)
    ]


def _image_warnings(folder: RunFolder, backend: Backend) -> list[str]:
    changed = restage.changed(folder, backend.manifest)
    if not changed:
        return []
    return [
        f"Images were changed since the run started: {_some(changed)}. What the run has cached of them is used as it is."
    ]


def _other_warnings(run: Run, backend: Backend, state: SavedState) -> list[str]:
    found = []
    now, then = place_for(backend, run.folder.path).version, run.folder.versions.get("engine_version", "")
    if now != then:
        found.append(f"The run was trained with version {then or 'unknown'} of the engine; {now} is installed now.")
    if (diagnosis := run.diagnosis) is not None and diagnosis.id == "nan-loss":
        found.append(
            "The loss of this run was not a number (NaN), so this state may be unusable. Choose an earlier one."
        )
    free = free_disk_bytes(run.folder.path)
    if free < 2 * state.size_bytes:
        found.append(
            f"Another state of {size(state.size_bytes)} will be saved beside the present ones, but only {size(free)} are free."
        )
    return found


def _kind_of(machine: Machine | None) -> str:
    return machine.accelerator.kind if machine else "cpu"


def _chosen(folder: RunFolder) -> dict[str, Any]:
    """The profile, preset and policy that the run was made with."""
    return {name: value for name, value in folder.versions.items() if name in ("profile", "preset", "policy", "gpu")}


def _some(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
