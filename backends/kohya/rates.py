"""The learning rates that native settings add to those of the plan.

Source: prepare_optimizer_params of networks/*.py and lycoris/kohya.py; get_block_params_to_optimize in sdxl_train.py;
sd3_train.py; library/anima_train_utils.py, get_anima_param_groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from trainer_core import catalog
from trainer_core.draft.checks.schedule import DESTROYS
from trainer_core.plan.sections import TrainingPlan

OPTIONS = ("block_lr", "cross_attn_lr", "learning_rate_te3", "llm_adapter_lr", "mlp_lr", "mod_lr", "self_attn_lr")
"""The native settings that set the learning rate of a part of the model."""
RATIOS = ("loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio")
WEIGHTS = ("down_lr_weight", "mid_lr_weight", "up_lr_weight")
RATES = "network_reg_lrs"


def others(plan: TrainingPlan, native: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(native setting, its name in a sentence) of each one that sets a learning rate other than that of the plan.

    A rate of 0 does not count, because the engine does not train those parameters. Values must have a valid form.
    """
    rate = plan.optimizer.learning_rate
    for name in OPTIONS:
        if name in native and _differ((float(part) for part in str(native[name]).split(",")), rate):
            yield name, name
    for entry in native.get("network_args", ()):
        key, _, value = (part.strip() for part in entry.partition("="))
        if _differ(_rates(key, value, rate), rate):
            yield "network_args", key


def destroying(plan: TrainingPlan, native: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """(native setting, its name in a sentence, the rate) of each one whose learning rate destroys what it trains.

    As for the learning rate of the plan: where the size of a step is the learning rate, a rate of 1 changes each weight by 1.
    """
    optimizer, rate = catalog.optimizers()[plan.optimizer.name], plan.optimizer.learning_rate
    if optimizer.adapts or optimizer.follows_gradient or rate >= DESTROYS:
        return
    for name in OPTIONS:
        if name in native:
            yield from _destroying(name, name, (float(part) for part in str(native[name]).split(",")))
    for entry in native.get("network_args", ()):
        key, _, value = (part.strip() for part in entry.partition("="))
        yield from _destroying("network_args", key, _rates(key, value, rate))


def _destroying(name: str, key: str, rates: Iterable[float]) -> Iterator[tuple[str, str, float]]:
    highest = max(rates, default=0.0)
    if highest >= DESTROYS:
        yield name, key, highest


def _rates(key: str, value: str, rate: float) -> list[float]:
    """The learning rates in a network argument. A curve (by name) counts as a different rate, because its weights differ."""
    if key in RATIOS:
        return [rate * float(value)]
    if key == RATES:
        return [float(pair.partition("=")[2]) for pair in value.split(",") if pair.strip()]
    if key in WEIGHTS:
        parts = [part.strip() for part in value.split(",") if part.strip()]
        is_curve = any(part[0].isalpha() for part in parts)
        return [-1.0] if is_curve else [rate * float(part) for part in parts]
    return []


def _differ(rates: Any, rate: float) -> bool:
    return any(each not in (0.0, rate) for each in rates)
