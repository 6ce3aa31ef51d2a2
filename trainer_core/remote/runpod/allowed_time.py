"""How long a worker may take for a plan: an estimate for a slow GPU, and time for what comes before it."""

from __future__ import annotations

from dataclasses import dataclass

from trainer_core.draft.facts import Facts
from trainer_core.estimate import estimate
from trainer_core.hardware import Accelerator, Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.remote.runpod import limits
from trainer_core.remote.runpod.limits import DAY_S, Policy

SLOW_GPU = "NVIDIA L4"
"""The slowest GPU with 24 GB that RunPod offers to endpoints. Source: RunPod documentation, "GPU types"."""
START_S, IMAGE_S, STEP_S = 1800.0, 10.0, 12.0
"""Seconds for the start of a worker and its downloads, for each image, and for each step without an estimate. Assumptions, generous
on purpose: they bound what a hanging job costs."""
MARGIN = 1.5
"""The estimate's greatest time is multiplied by this: a job that needs a little more would be ended, and be lost."""
_GIB = 1 << 30


@dataclass(frozen=True)
class Allowed:
    """The policy of a job, and a sentence that says how it came about."""

    policy: Policy
    sentence: str


def allowed(plan: TrainingPlan, images: int, gpu: str = "", queue_s: float = limits.QUEUE_S) -> Allowed:
    """How long the training of a plan with this number of images may take on a GPU with this name.

    Raises:
        RemoteError: it may take longer than RunPod allows.
    """
    name = gpu or SLOW_GPU
    seconds = estimate(plan, Facts(_machine(name))).seconds[1]
    trained = MARGIN * seconds if seconds else STEP_S * plan.schedule.steps
    found = limits.policy(START_S + IMAGE_S * images + trained, queue_s)
    why = (
        f"the estimate for {name}"
        if seconds
        else f"{STEP_S:.0f} seconds a step, because there is no estimate for this plan"
    )
    sentence = f"RunPod may train for {_words(found.run_s)} (from {why}) after at most {_words(found.ttl_s - found.run_s)} in its queue."
    return Allowed(found, sentence)


def _machine(gpu: str) -> Machine:
    """A machine with this GPU; only its speed counts here."""
    card = Accelerator("cuda", gpu, 24 * _GIB, 24 * _GIB)
    return Machine((card,), 64 * _GIB, 64 * _GIB, 200 * _GIB, 8, "Linux x86_64")


def _words(seconds: float) -> str:
    hours = seconds / 3600
    return f"{seconds / DAY_S:.1f} days" if hours > 48 else f"{hours:.1f} hours"
