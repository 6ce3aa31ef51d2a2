"""The Problems of a plan with sd-scripts, found before the engine loads anything."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from backends.kohya import dataset, device_rules, memory_rules, native_rules, render, rules
from backends.kohya.cell import cell_of
from trainer_core.engines import launcher
from trainer_core.engines import options as engine_options
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.options import EngineOptions
from trainer_core.engines.status import EngineStatus
from trainer_core.hardware import Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem

SCHEMA = Path(__file__).parent / "schema"
PROMPT_KEYS = frozenset(
    {"prompt", "negative_prompt", "sample_steps", "width", "height", "scale", "guidance_scale", "seed"}
)
"""Source: sample_image_inference of the families."""


def check(plan: TrainingPlan, machine: Machine, status: EngineStatus, manifest: BackendManifest) -> list[Problem]:
    """All Problems of the plan with this engine; empty for families and methods it does not claim, which others report."""
    claim = manifest.families.get(plan.model.family)
    if claim is None or plan.model.method not in claim.methods:
        return []
    cell = cell_of(plan, manifest)
    return [
        *rules.check(plan, machine, cell),
        *memory_rules.check(plan, machine, cell),
        *device_rules.check(plan, machine, cell),
        *_native(plan, machine, status, manifest),
    ]


def _native(plan: TrainingPlan, machine: Machine, status: EngineStatus, manifest: BackendManifest) -> Iterator[Problem]:
    settings = plan.native.get(render.ID, {})
    launches = engine_options.shipped(SCHEMA / "accelerate_launch.json")
    options = script_options(plan, manifest)
    found = list(engine_options.native_problems(render.ID, settings, manifest.options, options, launches))
    yield from found
    if not found:
        yield from native_rules.check(plan, render.native(plan), status, manifest)
        yield from launcher.check(render.ID, plan, render.launch_settings(plan), machine)


def script_options(plan: TrainingPlan, manifest: BackendManifest) -> EngineOptions:
    """The recorded options of the script that trains the plan's family by its method."""
    script = PurePosixPath(cell_of(plan, manifest).program)
    return engine_options.shipped(SCHEMA / f"{script.stem}.json")


def unknown_keys(files: Mapping[PurePosixPath, str], options: EngineOptions) -> list[str]:
    """A sentence for each rendered key that the engine's parsers do not know or would misread; must be empty.

    The engine itself does not report them: it drops unknown keys and keeps values of the wrong type.
    """
    tables = tomllib.loads(files[render.CONFIG])
    found = [
        f"{name}: the engine reads only tables that are one level deep."
        for name, table in tables.items()
        if _nested(table)
    ]
    for table in tables.values():
        found += options.complaints(table)
    kind = "_finetuning" if dataset.METADATA in files else ""
    for entry in tomllib.loads(files[render.DATASET])["datasets"]:
        # Source: library/config_util.py, validate_flex_dataset: the keys of its subsets decide what kind of dataset it is.
        has_masks = all("conditioning_data_dir" in subset for subset in entry["subsets"])
        own = "_controlnet" if has_masks else kind
        found += engine_options.shipped(SCHEMA / f"dataset{own}.json").complaints(entry)
        for subset in entry["subsets"]:
            found += engine_options.shipped(SCHEMA / f"subset{own}.json").complaints(subset)
    if render.PROMPTS in files:
        found += [f"prompt: {name}" for each in json.loads(files[render.PROMPTS]) for name in each.keys() - PROMPT_KEYS]
    return found


def _nested(table: Any) -> bool:
    return not isinstance(table, dict) or any(isinstance(value, dict) for value in table.values())
