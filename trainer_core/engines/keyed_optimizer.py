"""The options for the optimizer, its arguments and the schedule of trainers that take the arguments as a list of key=value.

Source: sd-scripts, library/train_util.py, get_optimizer and get_scheduler_fix; musubi-tuner, training/trainer_base.py,
get_optimizer and get_lr_scheduler.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from trainer_core import catalog
from trainer_core.engines.manifest import BackendManifest
from trainer_core.plan.sections import OptimizerSettings, TrainingPlan

BETAS = ("beta1", "beta2", "beta3")


def options(
    plan: TrainingPlan,
    manifest: BackendManifest,
    spelling: Mapping[str, str],
    warms_up_itself: Collection[str] = (),
    processes: int = 1,
) -> dict[str, Any]:
    """The options of the optimizer and of the schedule.

    `spelling` are the names of settings in the arguments, if they differ; optimizers in `warms_up_itself` take the warm-up as
    an argument. The engine steps its schedule once for each of its `processes`, so step counts of it are multiplied by that.
    """
    name = plan.optimizer.name
    arguments = [*manifest.optimizer_arguments.get(name, ()), *_arguments(plan.optimizer, spelling)]
    if plan.schedule.warmup_steps and name in warms_up_itself:
        arguments.append(f"warmup_steps={plan.schedule.warmup_steps}")
    return {
        "optimizer_type": manifest.optimizers[name],
        "optimizer_args": arguments,
        "learning_rate": float(plan.optimizer.learning_rate),
        "max_grad_norm": float(plan.optimizer.max_grad_norm),
        **_schedule(plan, manifest, processes),
    }


def _arguments(optimizer: OptimizerSettings, spelling: Mapping[str, str]) -> list[str]:
    """The arguments of the optimizer as `key=value` in Python's notation; empty settings are left to the optimizer."""
    known = catalog.optimizers()[optimizer.name].settings
    found = [f"weight_decay={float(optimizer.weight_decay)!r}"]
    if any(getattr(optimizer, beta) is not None for beta in BETAS if beta in known):
        # They are one argument, so the ones that were not set must be included, too.
        betas = [
            known[beta] if (value := getattr(optimizer, beta)) is None else value for beta in BETAS if beta in known
        ]
        found.append(f"betas=({', '.join(repr(float(beta)) for beta in betas)})")
    for name in known:
        value = getattr(optimizer, name)
        if value is not None and name not in (*BETAS, "weight_decay"):
            found.append(f"{spelling.get(name, name)}={value!r}")
    return found


def _schedule(plan: TrainingPlan, manifest: BackendManifest, processes: int) -> dict[str, Any]:
    schedule = plan.schedule
    settings = catalog.schedulers()[schedule.scheduler].settings
    table: dict[str, Any] = {
        "lr_scheduler": manifest.schedulers[schedule.scheduler],
        # A whole number means steps; 0.1 would mean a tenth of the run.
        "lr_warmup_steps": 0
        if catalog.optimizers()[plan.optimizer.name].schedule_free
        else schedule.warmup_steps * processes,
    }
    if "restarts" in settings:
        table["lr_scheduler_num_cycles"] = schedule.restarts
    if "power" in settings:
        table["lr_scheduler_power"] = float(schedule.power)
    if "timescale" in settings and schedule.timescale is not None:
        table["lr_scheduler_timescale"] = schedule.timescale * processes
    if "min_rate_ratio" in settings:
        table["lr_scheduler_min_lr_ratio"] = float(schedule.min_rate_ratio)
    if "decay_steps" in settings:
        table["lr_decay_steps"] = schedule.decay_steps * processes
    return table
