"""The options of SimpleTuner for the optimizer, its arguments and the learning rate schedule.

Source: helpers/training/optimizer_param.py and custom_schedule.py of 4.10.1.
"""

from __future__ import annotations

from typing import Any

from backends.simpletuner.translation import TRANSLATION
from trainer_core import catalog
from trainer_core.engines.manifest import BackendManifest
from trainer_core.plan.sections import OptimizerSettings, TrainingPlan

BETAS = ("beta1", "beta2")
"""The settings that are passed as a pair, in options of their own."""
RELEASING = "optimi-"
"""The prefix of the optimizers that can step during the backward pass. Source: trainer.py, init_optimizer."""


def options(plan: TrainingPlan, manifest: BackendManifest) -> dict[str, Any]:
    """The options of the optimizer and of the schedule."""
    optimizer = plan.optimizer
    table: dict[str, Any] = {
        "optimizer": manifest.optimizers[optimizer.name],
        "optimizer_config": ",".join(_arguments(optimizer, manifest)),
        **_betas(optimizer),
        "learning_rate": float(optimizer.learning_rate),
        "max_grad_norm": float(optimizer.max_grad_norm),
        # Its default clips each value on its own, which gives the same number another meaning.
        "grad_clip_method": "norm",
        **_schedule(plan, manifest),
    }
    if plan.memory.fused_backward:
        table["optimizer_release_gradients"] = True
    return table


def _arguments(optimizer: OptimizerSettings, manifest: BackendManifest) -> list[str]:
    """The arguments of the optimizer as `key=value`; empty settings are left to it. If a name occurs twice, the last counts."""
    spelling, without = TRANSLATION.optimizer_settings, TRANSLATION.optimizer_without
    found = list(manifest.optimizer_arguments.get(optimizer.name, ()))
    for name in catalog.optimizers()[optimizer.name].settings:
        value = getattr(optimizer, name)
        if value is not None and name not in (*BETAS, *without.get(optimizer.name, ())):
            found.append(f"{spelling.get(name, name)}={_text(value)}")
    return found


def _text(value: bool | float) -> str:
    """The text of a value; a number has a decimal point or a negative exponent, so that the engine reads it as a number."""
    return str(value).lower() if isinstance(value, bool) else repr(float(value))


def _betas(optimizer: OptimizerSettings) -> dict[str, float]:
    """Both betas if one of them is set: the engine needs both or none."""
    known = catalog.optimizers()[optimizer.name].settings
    if any(beta in TRANSLATION.optimizer_without.get(optimizer.name, ()) for beta in BETAS):
        return {}
    if all(getattr(optimizer, beta) is None or beta not in known for beta in BETAS):
        return {}
    usual = {**known, **TRANSLATION.optimizer_defaults.get(optimizer.name, {})}
    given = {beta: getattr(optimizer, beta) for beta in BETAS}
    return {f"optimizer_{beta}": float(usual[beta] if value is None else value) for beta, value in given.items()}


def _schedule(plan: TrainingPlan, manifest: BackendManifest) -> dict[str, Any]:
    schedule, floor = plan.schedule, 0.0
    entry = catalog.schedulers()[schedule.scheduler]
    spelled, span = manifest.schedulers[entry.id], schedule.warmup_steps
    if catalog.optimizers()[plan.optimizer.name].schedule_free:
        # The engine's scheduler would still change the learning rate of one of them.
        spelled = "constant"
    elif spelled == "cosine":
        # The engine reads the length of the curve from this option, and has no warm-up here.
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
