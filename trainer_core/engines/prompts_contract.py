"""The requirements on an engine about the samples of several prompts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from trainer_core.engines.seam import Backend, JobSpec, Place
from trainer_core.engines.status import NOT_KNOWN
from trainer_core.hardware import Machine
from trainer_core.plan.prompts import OWN
from trainer_core.plan.sections import TrainingPlan

WORDS = ("a first word", "a second word", "a third word")
OTHER = {
    "negative_prompt": "an unwanted word",
    "width": 768,
    "height": 768,
    "inference_steps": 9,
    "guidance": 2.5,
    "seed": 3,
}
"""For each value that a prompt can have of its own, one that no other prompt has."""


def check_prompts(backend: Backend, plan: TrainingPlan, where: Place, machine: Machine) -> None:
    """Checks what an engine does with several prompts, in a plan that makes samples.

    Raises:
        AssertionError: it drops a prompt or a value of one without a word.
    """
    if wrong := list(dropped_prompts(backend, plan, where, machine)):
        raise AssertionError(f"{plan.model.family} {plan.model.method}: {' '.join(wrong)}")


def dropped_prompts(backend: Backend, plan: TrainingPlan, where: Place, machine: Machine) -> Iterator[str]:
    """What an engine drops of several prompts without a word; nothing if it reports that it has only one."""
    several = _with(plan, *({"text": text} for text in WORDS))
    if any(problem.path == "sampling.prompts" for problem in backend.problems(several, machine, NOT_KNOWN)):
        return
    job = backend.render(several, where)
    files = "\n".join(job.files.values())
    yield from (f"The prompt {text!r} is in no file of the job." for text in WORDS if text not in files)
    if [files.find(text) for text in WORDS] != sorted(files.find(text) for text in WORDS):
        yield "The prompts are in another order, so the samples would have the wrong numbers."
    yield from _unsaid(backend, several, job, where, machine)
    if "prompt" not in re.compile(job.artefacts.samples.pattern).groupindex:
        yield "The pattern of samples must have a group called prompt: the number of the prompt, from 0."


def _unsaid(backend: Backend, several: TrainingPlan, job: JobSpec, where: Place, machine: Machine) -> Iterator[str]:
    """The values of one prompt that change neither the job nor the Problems."""
    first, second, third = ({"text": text} for text in WORDS)
    for name in OWN:
        one = _with(several, first, {**second, name: OTHER[name]}, third)
        told = {problem.path for problem in backend.problems(one, machine, NOT_KNOWN)}
        if "sampling.prompts" not in told and backend.render(one, where) == job:
            yield f"The {name} of one prompt changes nothing, and no Problem of sampling.prompts reports it."


def _with(plan: TrainingPlan, *prompts: Any) -> TrainingPlan:
    tables = plan.model_dump()
    return TrainingPlan.model_validate({**tables, "sampling": {**tables["sampling"], "prompts": prompts}})
