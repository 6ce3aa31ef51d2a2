"""Checks of the values of native settings, which musubi-tuner would refuse only after loading, or silently ignore."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backends.musubi import arguments, render
from backends.musubi.cell import cell_of
from trainer_core import catalog
from trainer_core.engines import needs, optimizer_arguments
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.status import EngineStatus
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem
from trainer_core.text import nearest

PATH = f"native.{render.ID}"


def check(
    plan: TrainingPlan, native: Mapping[str, Any], status: EngineStatus, manifest: BackendManifest
) -> Iterator[Problem]:
    """The Problems of native settings whose names and types are valid."""
    cell = cell_of(plan, manifest)
    yield from _of_network(plan, native.get(arguments.NETWORK, ()), manifest)
    yield from optimizer_arguments.problems(
        plan,
        f"{PATH}.{arguments.OPTIMIZER}",
        native.get(arguments.OPTIMIZER, ()),
        tuple(arguments.of_optimizer(plan, status, manifest)),
        arguments.defaults(plan, status, manifest),
        arguments.NOTATION,
    )
    yield from needs.unmet(manifest.id, plan, native, manifest.options, cell.fixed)
    yield from _together(plan, native)


def _of_network(plan: TrainingPlan, entries: Any, manifest: BackendManifest) -> Iterator[Problem]:
    """The Problems of `network_args`: each must be `key=value`, with a key that the module reads and no setting covers."""
    known = {one.key: one for one in arguments.of_network(plan, manifest)}
    for entry in entries:
        key, separator, value = (part.strip() for part in entry.partition("="))
        one = known.get(key)
        if one is None:
            near = nearest(key, arguments.OF_NETWORK)
            said = (
                f"The engine does not read {key!r:.60} and would ignore it.{f' Did you mean {near}?' if near else ''}"
            )
        elif one.setting:
            said = f"{key} is set by the plan: change {one.setting} instead."
        elif one.why_not:
            said = f"{key} cannot be set: {one.why_not}"
        elif not separator or not value:
            said = f"{entry!r:.80} must have the form key=value."
        else:
            wanted, fits = arguments.FORMS[key]
            said = "" if fits(value) else f"{key} must be {wanted}, without an equals sign, not {value!r:.60}."
        if said:
            yield Problem(
                f"{PATH}.{arguments.NETWORK}",
                "error",
                said,
                needs.remove_entry(plan, render.ID, arguments.NETWORK, key),
            )


def _together(plan: TrainingPlan, native: Mapping[str, Any]) -> Iterator[Problem]:
    """The Problems of native settings that conflict with other settings."""
    if plan.schedule.flow_shift and native.get("timestep_sampling", "shift") != "shift":
        message = "timestep_sampling has timesteps without a fixed shift, so schedule.flow_shift would have no effect."
        yield Problem(f"{PATH}.timestep_sampling", "error", message, Fix("Use no shift", {"schedule.flow_shift": 0.0}))
    if native.get("min_timestep", 0) >= native.get("max_timestep", 1000):
        yield Problem(f"{PATH}.min_timestep", "error", "min_timestep must be less than max_timestep.")
    weights, factors = native.get("base_weights", ()), native.get("base_weights_multiplier", ())
    if len(factors) > len(weights) and weights:
        message = "base_weights_multiplier has more numbers than base_weights has files."
        yield Problem(f"{PATH}.base_weights_multiplier", "error", message)
    if weights:
        # Source: training/trainer_base.py, convert_weight_keys; networks/lora.py, merge_to; tried with both kinds of names.
        message = (
            "musubi-tuner adds only layers with names like lora_unet_…, and skips others without a word, such as those of the published "
            f"adapter of Z-Image Turbo. A copy that it reads: easel lora convert FILE --naming sd-scripts --family {plan.model.family}"
        )
        yield Problem(f"{PATH}.base_weights", "info", message)
    if catalog.optimizers()[plan.optimizer.name].one_rate:
        joined = {"".join(entry.split()).partition("=")[0] for entry in native.get(arguments.NETWORK, ())}
        if "loraplus_lr_ratio" in joined:
            message = "This optimizer supports only one learning rate, but loraplus_lr_ratio sets another: it would stop at the first step."
            yield Problem(f"{PATH}.{arguments.NETWORK}", "error", message)
