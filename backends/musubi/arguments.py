"""The keys that musubi-tuner reads inside `network_args` and `optimizer_args`, with the setting of the plan that each follows from."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from backends.musubi import render
from backends.musubi.cell import cell_of
from trainer_core import catalog
from trainer_core.engines import keyed_optimizer, optimizer_arguments, python_literal
from trainer_core.engines.arguments import Argument
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.optimizer_arguments import Notation
from trainer_core.engines.status import EngineStatus
from trainer_core.plan.sections import TrainingPlan

NETWORK, OPTIMIZER = "network_args", "optimizer_args"
NOTATION = Notation(optimizer_arguments.python, optimizer_arguments.wrong_in_python)
REFUSED = {
    "args": "it is an object of the library, which a text cannot be.",
    "capturable": "it is for CUDA graphs, which the engine does not use.",
    "differentiable": "it is for a derivative of the step itself, and the engine stops.",
    "fsdp_in_use": "a run does not divide the parameters over machines.",
    "fused_back_pass": "the engine does not step during the backward pass, so nothing would be trained.",
    "maximize": "it would move the weights away from the images.",
    "optim_bits": "the number of bits follows from the choice of the optimizer: change optimizer.name.",
}
"""Arguments of optimizers that would stop the training or change nothing. Source: the classes."""
OF_NETWORK = {
    "exclude_patterns": "Layers whose full name fits one of these patterns get no network.",
    "include_patterns": "Layers whose full name fits one of these patterns get a network although exclude_patterns excludes them.",
    "loraplus_lr_ratio": "LoRA+: how many times higher the learning rate of the second matrix (lora_up) is.",
    "verbose": "The engine lists the layers of the network in its log.",
}
"""What each key of `network_args` does that no setting covers. Source: networks/lora.py, create_network; any other is ignored."""
ONLY_LORA = ("loraplus_lr_ratio",)
"""Keys that have an effect only with a plain LoRA: LoRA+ applies to lora_up, which the others do not have."""


def of_plan(plan: TrainingPlan, status: EngineStatus, manifest: BackendManifest) -> Iterator[Argument]:
    """Every key, also those that cannot be set with this plan."""
    claim = manifest.families.get(plan.model.family)
    if claim is None or plan.model.method not in claim.methods:
        return
    yield from of_network(plan, manifest)
    yield from of_optimizer(plan, status, manifest)
    yield from optimizer_arguments.settings(OPTIMIZER, manifest, lambda name: follows(name, manifest))


def of_network(plan: TrainingPlan, manifest: BackendManifest) -> Iterator[Argument]:
    """The keys of `network_args`."""
    reader = render.module(plan, cell_of(plan, manifest))
    for name, key in render.NETWORK_ARGUMENTS.items():
        yield Argument(NETWORK, key, reader, setting=f"network.{name}")
    for key, text in OF_NETWORK.items():
        other = key in ONLY_LORA and plan.network.algorithm != "lora"
        why_not = "It has an effect only with a plain LoRA." if other else ""
        choices = ("True", "False") if key == "verbose" else ()
        yield Argument(NETWORK, key, reader, wanted=FORMS[key][0], choices=choices, help=text, why_not=why_not)


def of_optimizer(plan: TrainingPlan, status: EngineStatus, manifest: BackendManifest) -> Iterator[Argument]:
    """Every key of `optimizer_args` that some optimizer of the engine takes; the chosen one is the reader."""
    name = plan.optimizer.name
    return optimizer_arguments.of_optimizer(
        manifest, name, status, OPTIMIZER, follows(name, manifest), REFUSED, NOTATION
    )


def follows(name: str, manifest: BackendManifest) -> Mapping[str, tuple[str, ...]]:
    """The arguments that Easel gives to an optimizer, with the settings that each follows from; () if Easel determines it."""
    found: dict[str, tuple[str, ...]] = {
        entry.partition("=")[0]: () for entry in manifest.optimizer_arguments.get(name, ())
    }
    for setting in ("weight_decay", *catalog.optimizers()[name].settings):
        key = "betas" if setting in keyed_optimizer.BETAS else render.SPELLING.get(setting, setting)
        found[key] = tuple(dict.fromkeys((*found.get(key, ()), f"optimizer.{setting}")))
    if name in render.WARMS_UP_ITSELF:
        found["warmup_steps"] = ("schedule.warmup_steps",)
    return found


def defaults(plan: TrainingPlan, status: EngineStatus, manifest: BackendManifest) -> Mapping[str, Any]:
    """The defaults of the arguments of the optimizer, by key."""
    own = optimizer_arguments.taken(manifest, plan.optimizer.name, status)
    return {key: about.get("default") for key, about in own.takes.items()} if own else {}


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _are_patterns(text: str) -> bool:
    # The engine divides the text at each equals sign.
    try:
        found = python_literal.value_of(text)
    except ValueError:
        return False
    if "=" in text or not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        return False
    try:
        for each in found:
            re.compile(each)
    except re.error:
        return False
    return True


_PATTERNS = ("a Python list of regular expressions such as ['.*attn.*']", _are_patterns)
FORMS: Mapping[str, tuple[str, Callable[[str], bool]]] = {
    "exclude_patterns": _PATTERNS,
    "include_patterns": _PATTERNS,
    "loraplus_lr_ratio": ("a number", _is_number),
    "verbose": ("True or False, with a capital letter", lambda text: text in ("True", "False")),
}
"""By key of `network_args`: a description that completes "must be", and a check of the text."""
