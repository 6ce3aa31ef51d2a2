"""What SimpleTuner cannot do, or would stumble over, said before it spends a minute on its imports."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from backends.simpletuner import memory_rules, network_rules, render, rules, trained
from trainer_core import engine_options, launcher
from trainer_core.backend import BackendManifest
from trainer_core.engine_options import EngineOptions, Option
from trainer_core.hardware import Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

SCHEMA = Path(__file__).parent / "schema"
VERSIONS = ("4.10.1", "3.1.6")
"""The versions whose options were recorded, newest first."""
ENTRY_OF_4: Mapping[str, Option] = {"caption_shuffle": Option("any")}
"""What 4.10.1 reads of an entry of pictures and 3.1.6 does not. Source: helpers/data_backend/factory.py of both."""
LYCORIS_KEYS = frozenset(
    {"algo", "multiplier", "linear_dim", "linear_alpha", "conv_dim", "conv_alpha", "dropout", "rank_dropout"}
    | {"module_dropout", "use_tucker", "block_size", "train_norm", "constraint", "rescaled", "dora_wd", "full_matrix"}
    | {"decompose_both", "factor", "apply_preset"}
)
"""Source: lycoris-lora 4.1.3, wrapper.py, create_lycoris; trainer.py, init_trainable_peft_adapter."""


def check(plan: TrainingPlan, machine: Machine, manifest: BackendManifest) -> list[Problem]:
    """All Problems of the plan with this engine; none for a family or method it does not claim, which is said elsewhere."""
    claim = manifest.families.get(plan.model.family)
    if claim is None or plan.model.method not in claim.methods:
        return []
    cell, installed = claim.cell(plan.model.method), version(machine)
    return [
        *_version(plan, installed, manifest),
        *rules.check(plan, installed, cell, manifest),
        *network_rules.check(plan, installed, cell, manifest),
        *memory_rules.check(plan, machine, installed, cell, manifest),
        *_native(plan, machine, installed, cell, manifest),
    ]


def _version(plan: TrainingPlan, installed: str, manifest: BackendManifest) -> Iterator[Problem]:
    """What an older version was not tried with."""
    limits = manifest.tables["versions"].get(installed.partition(".")[0])
    if limits is None:
        return
    chosen = [("model.family", plan.model.family, "families"), ("model.method", plan.model.method, "methods")]
    if plan.model.method == "lora":
        chosen.append(("network.algorithm", plan.network.algorithm, "algorithms"))
    for path, value, known in chosen:
        if value not in limits[known]:
            fix = None if path == "model.family" else Fix("Use a plain LoRA", {path: "lora"})
            message = f"With SimpleTuner {installed} Easel trains a plain LoRA on SDXL only, not {value}."
            yield Problem(path, "error", message, fix)
    if plan.optimizer.name in limits["without_optimizers"]:
        message = f"SimpleTuner {installed} does not have {plan.optimizer.name}."
        yield Problem("optimizer.name", "error", message, Fix("Use AdamW", {"optimizer.name": "AdamW"}))


def _native(
    plan: TrainingPlan, machine: Machine, installed: str, cell: Mapping[str, Any], manifest: BackendManifest
) -> Iterator[Problem]:
    settings, launches = plan.native.get(render.ID, {}), engine_options.load(SCHEMA / "accelerate_launch.json")
    found = list(
        engine_options.native_problems(
            render.ID, settings, manifest.tables["options"], recorded(installed), launches, cell["model_family"]
        )
    )
    yield from found
    if not found:
        yield from launcher.check(render.ID, render.launch_settings(plan), machine)
    said_twice = {
        "base_model_precision": ("memory.fp8_base", plan.memory.fp8_base),
        "gradient_checkpointing_backend": ("memory.offload_checkpointing", plan.memory.offload_checkpointing),
        "flow_schedule_auto_shift": ("schedule.flow_shift", plan.schedule.flow_shift),
    }
    for name, (path, value) in said_twice.items():
        if name in settings and value:
            message = f"{name} and {path} say the same in two ways: leave one of them out."
            yield Problem(f"native.{render.ID}.{name}", "error", message)


def version(machine: Machine) -> str:
    """The installed version of the engine, as the machine's record has it; "" when that is not known."""
    return str(machine.probes.get("engines", {}).get(render.ID, ""))


def recorded(version: str) -> EngineOptions:
    """The recorded options of a version; of the newest recorded one when that version was not."""
    return engine_options.load(SCHEMA / f"{version if version in VERSIONS else VERSIONS[0]}.json")


def unknown_keys(files: Mapping[PurePosixPath, str], options: EngineOptions) -> list[str]:
    """The sentences for every rendered key the engine does not know or would misread; must be empty."""
    found = options.complaints(json.loads(files[render.CONFIG]))
    for entry in json.loads(files[render.DATA]):
        known = engine_options.load(SCHEMA / f"{entry['dataset_type']}.json")
        if options.version == VERSIONS[0]:
            known = dataclasses.replace(known, options={**known.options, **ENTRY_OF_4})
        found += known.complaints(entry)
    if trained.LYCORIS in files:
        names = json.loads(files[trained.LYCORIS]).keys()
        found += [f"LyCORIS has no {name!r}." for name in sorted(names - LYCORIS_KEYS)]
    return found
