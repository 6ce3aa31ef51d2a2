"""How weights are moved, in the words of SimpleTuner: optimizer, its arguments, and the learning rate curve.

Source: helpers/training/optimizer_param.py and custom_schedule.py of 4.10.1.
"""

from __future__ import annotations

from typing import Any

from trainer_core import catalog
from trainer_core.backend import BackendManifest
from trainer_core.plan.sections import OptimizerSettings, TrainingPlan

BETAS = ("beta1", "beta2")
"""What is given as a pair, in options of its own."""
RELEASING = "optimi-"
"""What the names of optimizers begin with that can step during the backward pass. Source: trainer.py, init_optimizer."""


def options(plan: TrainingPlan, manifest: BackendManifest) -> dict[str, Any]:
    """The options of the optimizer and of the schedule."""
    optimizer = plan.optimizer
    table: dict[str, Any] = {
        "optimizer": manifest.optimizers[optimizer.name],
        "optimizer_config": ",".join(_arguments(optimizer, manifest)),
        **_betas(optimizer, manifest),
        "learning_rate": float(optimizer.learning_rate),
        "max_grad_norm": float(optimizer.max_grad_norm),
        # Its default cuts each value by itself, which means something else by the same number.
        "grad_clip_method": "norm",
        **_schedule(plan, manifest),
    }
    if plan.memory.fused_backward:
        table["optimizer_release_gradients"] = True
    return table


def _arguments(optimizer: OptimizerSettings, manifest: BackendManifest) -> list[str]:
    """What the optimizer is told as `key=value`; what is empty is left to it. Of two of one name the last is taken."""
    spelling, without = manifest.tables["optimizer_settings"], manifest.tables["optimizer_without"]
    found = list(manifest.tables["optimizer_arguments"].get(optimizer.name, ()))
    for name in catalog.optimizers()[optimizer.name].settings:
        value = getattr(optimizer, name)
        if value is not None and name not in (*BETAS, *without.get(optimizer.name, ())):
            found.append(f"{spelling.get(name, name)}={_text(value)}")
    return found


def _text(value: bool | float) -> str:
    """A value that is read back as what it is: a number only with a point or a negative power of ten in it."""
    return str(value).lower() if isinstance(value, bool) else repr(float(value))


def _betas(optimizer: OptimizerSettings, manifest: BackendManifest) -> dict[str, float]:
    """Both betas when one of them is set: the engine takes none without the other."""
    known = catalog.optimizers()[optimizer.name].settings
    if any(beta in manifest.tables["optimizer_without"].get(optimizer.name, ()) for beta in BETAS):
        return {}
    if all(getattr(optimizer, beta) is None or beta not in known for beta in BETAS):
        return {}
    usual = {**known, **manifest.tables["optimizer_defaults"].get(optimizer.name, {})}
    given = {beta: getattr(optimizer, beta) for beta in BETAS}
    return {f"optimizer_{beta}": float(usual[beta] if value is None else value) for beta, value in given.items()}


def _schedule(plan: TrainingPlan, manifest: BackendManifest) -> dict[str, Any]:
    schedule, floor = plan.schedule, 0.0
    entry = catalog.schedulers()[schedule.scheduler]
    spelled, span = manifest.schedulers[entry.id], schedule.warmup_steps
    if catalog.optimizers()[plan.optimizer.name].schedule_free:
        # Its own scheduler would still move the rate of one of them.
        spelled = "constant"
    elif spelled == "cosine":
        # It takes the length of the curve from here and knows no warm-up.
        span = schedule.steps
    if "min_rate_ratio" in entry.settings:
        floor = float(plan.optimizer.learning_rate * schedule.min_rate_ratio)
    return {
        "lr_scheduler": spelled,
        "lr_warmup_steps": span,
        "lr_num_cycles": schedule.restarts,
        "lr_end": floor,
        "lr_power": float(schedule.power),
    }
