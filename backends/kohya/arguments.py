"""The keys that sd-scripts reads inside `network_args` and `optimizer_args`, with the setting of the plan that each follows from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backends.kohya import network_arguments, optimizer, target
from backends.kohya.cell import cell_of
from backends.kohya.translation import TRANSLATION
from trainer_core import catalog
from trainer_core.engines import optimizer_arguments
from trainer_core.engines.arguments import Argument
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.optimizer_arguments import Notation
from trainer_core.engines.status import EngineStatus
from trainer_core.plan.sections import TrainingPlan

NETWORK, OPTIMIZER, SCHEDULE = "network_args", "optimizer_args", "lr_scheduler_args"
SWITCHES = {"True or False": ("True", "False"), "true or false": ("true", "false")}
NOTATION = Notation(optimizer_arguments.python, optimizer_arguments.wrong_in_python)
ALGORITHM = {"algo": "network.algorithm"}
"""What names the algorithm to LyCORIS."""
OTHER_RANKS = frozenset({"block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas"})
"""Source: networks/lora.py, create_network. Easel could not check a finished network that was made with them."""


def of_plan(plan: TrainingPlan, status: EngineStatus, manifest: BackendManifest) -> Iterator[Argument]:
    """Every key, also those that cannot be set with this plan."""
    claim = manifest.families.get(plan.model.family)
    if claim is None or plan.model.method not in claim.methods:
        return
    if plan.model.method == "lora":
        yield from _of_network(plan, manifest)
    yield from _of_schedule(plan)
    yield from of_optimizer(plan, status, manifest)
    # Settings of the plan are found by the engine's names whichever optimizer is chosen.
    yield from optimizer_arguments.settings(OPTIMIZER, manifest, lambda name: follows(name, manifest))


def _of_schedule(plan: TrainingPlan) -> Iterator[Argument]:
    chosen = plan.schedule.scheduler
    every: dict[str, list[str]] = {}
    for name, keys in TRANSLATION.scheduler_arguments.items():
        for key in keys:
            every.setdefault(key, []).append(name)
    for key, names in every.items():
        why_not = "" if chosen in names else f"Only the schedule {' and '.join(names)} takes it."
        if not why_not and catalog.optimizers()[plan.optimizer.name].schedule_free:
            why_not = "A schedule-free optimizer has no schedule, so it has no effect."
        text = TRANSLATION.scheduler_argument_help.get(key, "")
        yield Argument(
            SCHEDULE, key, f"the schedule {chosen}", "a value in Python's notation", help=text, why_not=why_not
        )


def _of_network(plan: TrainingPlan, manifest: BackendManifest) -> Iterator[Argument]:
    module = target.module(plan, cell_of(plan, manifest))
    known, helps = TRANSLATION.network_arguments.get(module, {}), TRANSLATION.network_argument_help
    for name, key in TRANSLATION.network_settings.items():
        yield Argument(NETWORK, key, module, setting=f"network.{name}")
    for key, setting in ALGORITHM.items():
        yield Argument(NETWORK, key, module, setting=setting)
    for key, spec in known.items():
        yield Argument(
            option=NETWORK,
            key=key,
            reader=module,
            wanted=network_arguments.wanted(spec, plan.model.family),
            choices=SWITCHES.get(spec.form, ()) if isinstance(spec.form, str) else spec.form,
            help=helps.get(key, ""),
            why_not=network_arguments.excluded(key, spec, plan.model.family, plan.network.algorithm) or "",
        )
    others: dict[str, list[str]] = {}
    for other, keys in TRANSLATION.network_arguments.items():
        for key in keys.keys() - known.keys():
            others.setdefault(key, []).append(other)
    for key, modules in sorted(others.items()):
        why_not = f"{module}, which makes this network, does not read it; {' and '.join(sorted(modules))} read it."
        yield Argument(NETWORK, key, module, help=helps.get(key, ""), why_not=why_not)
    for key in sorted(OTHER_RANKS):
        yield Argument(NETWORK, key, module, help=helps.get(key, ""), why_not=several_ranks(key))


def several_ranks(key: str) -> str:
    """Why ranks for single blocks are refused."""
    return f"{key} makes a network with more than one rank or alpha, and Easel cannot check such a result."


def of_optimizer(plan: TrainingPlan, status: EngineStatus, manifest: BackendManifest) -> Iterator[Argument]:
    """Every key of `optimizer_args` that some optimizer of the engine takes; the chosen one is the reader."""
    name = plan.optimizer.name
    return optimizer_arguments.of_optimizer(
        manifest, name, status, OPTIMIZER, follows(name, manifest), TRANSLATION.optimizer_refused, NOTATION
    )


def follows(name: str, manifest: BackendManifest) -> Mapping[str, tuple[str, ...]]:
    """The arguments that Easel gives to an optimizer, with the settings that each follows from; () if Easel determines it."""
    spelling = TRANSLATION.optimizer_settings
    found: dict[str, tuple[str, ...]] = {
        entry.partition("=")[0]: () for entry in manifest.optimizer_arguments.get(name, ())
    }
    for setting in ("weight_decay", *catalog.optimizers()[name].settings):
        key = "betas" if setting in optimizer.BETAS else spelling.get(setting, setting)
        found[key] = tuple(dict.fromkeys((*found.get(key, ()), f"optimizer.{setting}")))
    if name in TRANSLATION.warms_up_itself:
        found["warmup_steps"] = ("schedule.warmup_steps",)
    return found


def defaults(plan: TrainingPlan, status: EngineStatus, manifest: BackendManifest) -> Mapping[str, Any]:
    """The defaults of the arguments of the optimizer, by key."""
    own = optimizer_arguments.taken(manifest, plan.optimizer.name, status)
    return {key: about.get("default") for key, about in own.takes.items()} if own else {}
