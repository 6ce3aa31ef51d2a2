"""The keys that SimpleTuner reads inside `optimizer_config`, with the setting of the plan that each follows from.

Source: helpers/training/optimizer_param.py of 4.10.1, convert_arg_to_parameters and _sanitize_optimizer_kwargs, which drops
what the constructor of an optimizer does not take.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from backends.simpletuner import optimizer
from backends.simpletuner.translation import TRANSLATION
from trainer_core import catalog
from trainer_core.engines import optimizer_arguments
from trainer_core.engines.arguments import Argument
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.optimizer_arguments import Notation
from trainer_core.engines.status import EngineStatus
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem

OPTIMIZER = "optimizer_config"
PATH = f"native.simpletuner.{OPTIMIZER}"


def of_plan(plan: TrainingPlan, status: EngineStatus, manifest: BackendManifest) -> Iterator[Argument]:
    """Every key, also those that cannot be set with this plan."""
    if plan.optimizer.name in manifest.optimizers:
        yield from of_optimizer(plan, status, manifest)
    yield from optimizer_arguments.settings(OPTIMIZER, manifest, lambda name: follows(name, manifest))


def of_optimizer(plan: TrainingPlan, status: EngineStatus, manifest: BackendManifest) -> Iterator[Argument]:
    """Every key that some optimizer of the engine takes; the chosen one is the reader."""
    name = plan.optimizer.name
    refused = dict(TRANSLATION.optimizer_refused)
    for key, about in optimizer_arguments.recorded(manifest)[name].takes.items():
        if isinstance(about.get("default"), list):
            refused.setdefault(key, "the engine reads no list in this option.")
    return optimizer_arguments.of_optimizer(
        manifest, name, status, OPTIMIZER, follows(name, manifest), refused, NOTATION
    )


def follows(name: str, manifest: BackendManifest) -> Mapping[str, tuple[str, ...]]:
    """The arguments that Easel gives to an optimizer, with the settings that each follows from; () if Easel determines it."""
    spelling, without = TRANSLATION.optimizer_settings, TRANSLATION.optimizer_without.get(name, ())
    found: dict[str, tuple[str, ...]] = {
        entry.partition("=")[0]: () for entry in manifest.optimizer_arguments.get(name, ())
    }
    for setting in catalog.optimizers()[name].settings:
        if setting not in without:
            key = "betas" if setting in optimizer.BETAS else spelling.get(setting, setting)
            found[key] = (*found.get(key, ()), f"optimizer.{setting}")
    return found


def problems(
    plan: TrainingPlan, native: Mapping[str, Any], status: EngineStatus, manifest: BackendManifest
) -> Iterator[Problem]:
    """The Problems of what the plan adds to the arguments of its optimizer."""
    if not native.get(OPTIMIZER) or plan.optimizer.name not in manifest.optimizers:
        return
    own = optimizer_arguments.taken(manifest, plan.optimizer.name, status)
    defaults = {key: about.get("default") for key, about in own.takes.items()} if own else {}
    known = tuple(of_optimizer(plan, status, manifest))
    yield from optimizer_arguments.problems(plan, PATH, native[OPTIMIZER], known, defaults, NOTATION)


def shown(value: Any) -> str:
    """A default as the engine reads it."""
    if isinstance(value, bool):
        return str(value).lower()
    return optimizer_arguments.python(value)


def wrong(text: str, default: Any) -> str:
    """What is wrong with a text for an argument with this default, as the rest of a sentence: the engine guesses its type."""
    if isinstance(default, bool):
        return "" if text.lower() in ("true", "false") else f"must be true or false, not {text!r:.60}."
    if isinstance(default, int | float) or default == "inf":
        return "" if _is_number(text) else f"must be a number such as 10, 0.5 or 1e-6, not {text!r:.60}."
    return "must not contain an equals sign: the engine divides the text there." if "=" in text else ""


def _is_number(text: str) -> bool:
    """Whether the engine reads a number: other forms, such as -1 or 1e5, stay text there."""
    if not (re.fullmatch(r"\d+", text) or "." in text or "e-" in text):
        return False
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


NOTATION = Notation(shown, wrong)
