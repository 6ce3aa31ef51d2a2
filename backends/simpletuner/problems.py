"""The Problems of a plan with SimpleTuner, found before the engine spends a minute on its imports."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from backends.simpletuner import (
    adapter_rules,
    arguments,
    device_rules,
    memory_rules,
    native_rules,
    network_rules,
    render,
    rules,
    target,
)
from backends.simpletuner.cell import SimpleTunerCell, cell_of
from backends.simpletuner.translation import TRANSLATION
from trainer_core.engines import launcher
from trainer_core.engines import options as engine_options
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.options import EngineOptions, Option
from trainer_core.engines.status import EngineStatus
from trainer_core.hardware import Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

SCHEMA = Path(__file__).parent / "schema"
VERSIONS = ("4.10.1", "3.1.6")
"""The versions whose options were recorded, newest first."""
ENTRY_OF_4: Mapping[str, Option] = {
    "caption_shuffle": Option("any"),
    "conditioning_data": Option("str", many=True),
    "is_regularisation_data": Option("bool"),
}
"""The keys of a dataset entry that 4.10.1 reads and 3.1.6 does not. Source: helpers/data_backend/factory.py of both."""
LYCORIS_KEYS = frozenset(
    {"algo", "multiplier", "linear_dim", "linear_alpha", "conv_dim", "conv_alpha", "dropout", "rank_dropout"}
    | {"module_dropout", "use_tucker", "block_size", "train_norm", "constraint", "rescaled", "dora_wd", "full_matrix"}
    | {"decompose_both", "factor", "apply_preset"}
)
"""Source: lycoris-lora 4.1.3, wrapper.py, create_lycoris; trainer.py, init_trainable_peft_adapter."""


def check(plan: TrainingPlan, machine: Machine, status: EngineStatus, manifest: BackendManifest) -> list[Problem]:
    """All Problems of the plan with this engine; empty for families and methods it does not claim, which others report."""
    claim = manifest.families.get(plan.model.family)
    if claim is None or plan.model.method not in claim.methods:
        return []
    cell, installed = cell_of(plan, manifest), status.version
    return [
        *_version(plan, installed),
        *rules.check(plan, installed, cell, manifest),
        *network_rules.check(plan, cell, manifest),
        *memory_rules.check(plan, machine, installed, cell, manifest),
        *device_rules.check(plan, machine, render.native(plan)),
        *adapter_rules.check(plan, render.native(plan), cell),
        *_native(plan, machine, status, cell, manifest),
    ]


def _version(plan: TrainingPlan, installed: str) -> Iterator[Problem]:
    """The Problems of what Easel has not been tested with in an older version."""
    limits = TRANSLATION.versions.get(installed.partition(".")[0])
    if limits is None:
        return
    chosen = [
        ("model.family", plan.model.family, limits.families),
        ("model.method", plan.model.method, limits.methods),
    ]
    if plan.model.method == "lora":
        chosen.append(("network.algorithm", plan.network.algorithm, limits.algorithms))
    for path, value, known in chosen:
        if value not in known:
            fix = None if path == "model.family" else Fix("Use a plain LoRA", {path: "lora"})
            message = f"With SimpleTuner {installed} Easel trains only a plain LoRA on SDXL, not {value}."
            yield Problem(path, "error", message, fix)
    if plan.optimizer.name in limits.without_optimizers:
        message = f"SimpleTuner {installed} does not have {plan.optimizer.name}."
        yield Problem("optimizer.name", "error", message, Fix("Use AdamW", {"optimizer.name": "AdamW"}))


def _native(
    plan: TrainingPlan, machine: Machine, status: EngineStatus, cell: SimpleTunerCell, manifest: BackendManifest
) -> Iterator[Problem]:
    installed = status.version
    settings, launches = plan.native.get(render.ID, {}), engine_options.shipped(SCHEMA / "accelerate_launch.json")
    found = list(
        engine_options.native_problems(
            render.ID, settings, manifest.options, recorded(installed), launches, cell.model_family
        )
    )
    yield from found
    if not found:
        yield from native_rules.check(plan, render.native(plan), cell, manifest)
        yield from arguments.problems(plan, render.native(plan), status, manifest)
        yield from launcher.check(render.ID, plan, render.launch_settings(plan), machine)
    said_twice = {
        "base_model_precision": ("memory.fp8_base", plan.memory.fp8_base),
        "gradient_checkpointing_backend": ("memory.offload_checkpointing", plan.memory.offload_checkpointing),
        "flow_schedule_auto_shift": ("schedule.flow_shift", plan.schedule.flow_shift),
        "tokenizer_max_length": ("dataset.caption_tokens", plan.dataset.caption_tokens),
    }
    for name, (path, value) in said_twice.items():
        if name in settings and value:
            message = f"{name} and {path} set the same thing: remove one of them."
            yield Problem(f"native.{render.ID}.{name}", "error", message)


def recorded(version: str) -> EngineOptions:
    """The recorded options of a version; those of the newest recorded version if it was not recorded."""
    return engine_options.shipped(SCHEMA / f"{version if version in VERSIONS else VERSIONS[0]}.json")


def unknown_keys(files: Mapping[PurePosixPath, str], options: EngineOptions) -> list[str]:
    """A sentence for each rendered key that the engine does not know or would misread; must be empty."""
    found = options.complaints(json.loads(files[render.CONFIG]))
    for entry in json.loads(files[render.DATA]):
        known = engine_options.shipped(SCHEMA / f"{entry['dataset_type']}.json")
        if options.version == VERSIONS[0]:
            known = dataclasses.replace(known, options={**known.options, **ENTRY_OF_4})
        found += known.complaints(entry)
    if target.LYCORIS in files:
        names = json.loads(files[target.LYCORIS]).keys()
        found += [f"LyCORIS has no {name!r}." for name in sorted(names - LYCORIS_KEYS)]
    return found
