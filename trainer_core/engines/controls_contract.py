"""The requirements on an engine about control images: it is told of every folder of them, in their order."""

from __future__ import annotations

from collections.abc import Iterator

from trainer_core.engines.seam import Backend, Place
from trainer_core.engines.status import NOT_KNOWN
from trainer_core.hardware import Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.subsets import CONTROLS


def check_controls(backend: Backend, plan: TrainingPlan, where: Place, machine: Machine) -> None:
    """Checks what an engine does with as many control images as it claims, in the first image folder and in a further one.

    Raises:
        AssertionError: it drops a folder of them without a word, or mixes them up.
    """
    if wrong := list(dropped_controls(backend, plan, where, machine)):
        raise AssertionError(f"{plan.model.family} {plan.model.method}: {' '.join(wrong)}")


def dropped_controls(backend: Backend, plan: TrainingPlan, where: Place, machine: Machine) -> Iterator[str]:
    """What an engine drops of the control images that it claims to read."""
    cell = backend.manifest.families[plan.model.family].cell(plan.model.method)
    most = max((each.most for each in cell.controls.values()), default=0)
    for variant, each in cell.controls.items():
        if not 0 <= each.least <= each.most <= len(CONTROLS) or not each.most:
            yield f"The control images of {variant or 'all variants'} must be at least 1 and at most {len(CONTROLS)}."
    if not most:
        return
    shown = {name: f"/{name}" for name in CONTROLS[:most]}
    both = _with(plan, {**shown, "subsets": ({"path": "/more", **shown},)})
    if any(problem.severity == "error" for problem in backend.problems(both, machine, NOT_KNOWN)):
        return
    job = backend.render(both, where)
    commands = (argument for step in job.steps for argument in step.argv)
    files = "\n".join((*job.files.values(), *commands))
    for folder in both.folders:
        places = [files.find(str(path)) for path in where.controls(folder)]
        if -1 in places:
            yield f"A folder of control images of {folder.path} is in no file and no command of the job."
        elif places != sorted(places):
            yield f"The control images of {folder.path} are in another order, so the model would be shown others first."


def _with(plan: TrainingPlan, values: dict[str, object]) -> TrainingPlan:
    tables = plan.model_dump()
    return TrainingPlan.model_validate({**tables, "dataset": {**tables["dataset"], **values}})
