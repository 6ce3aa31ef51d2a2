"""What sd-scripts cannot do, or would stumble over, said before gigabytes are loaded."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from backends.kohya import memory_rules, native_rules, pictures, render, rules
from trainer_core import engine_options, launcher
from trainer_core.backend import BackendManifest
from trainer_core.engine_options import EngineOptions
from trainer_core.hardware import Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem

SCHEMA = Path(__file__).parent / "schema"
PROMPT_KEYS = frozenset(
    {"prompt", "negative_prompt", "sample_steps", "width", "height", "scale", "guidance_scale", "seed"}
)
"""Source: sample_image_inference of the families."""


def check(plan: TrainingPlan, machine: Machine, manifest: BackendManifest) -> list[Problem]:
    """All Problems of the plan with this engine; none for a family or method it does not claim, which is said elsewhere."""
    claim = manifest.families.get(plan.model.family)
    if claim is None or plan.model.method not in claim.methods:
        return []
    cell = claim.cell(plan.model.method)
    return [
        *rules.check(plan, machine, cell, manifest),
        *memory_rules.check(plan, machine, cell),
        *_native(plan, machine, manifest),
    ]


def _native(plan: TrainingPlan, machine: Machine, manifest: BackendManifest) -> Iterator[Problem]:
    settings, table = plan.native.get(render.ID, {}), manifest.tables["options"]
    launches = engine_options.load(SCHEMA / "accelerate_launch.json")
    options = script_options(plan, manifest)
    found = list(engine_options.native_problems(render.ID, settings, table, options, launches))
    yield from found
    if not found:
        yield from native_rules.check(plan, render.native(plan), machine, manifest)
        yield from launcher.check(render.ID, render.launch_settings(plan), machine)


def script_options(plan: TrainingPlan, manifest: BackendManifest) -> EngineOptions:
    """The recorded options of the script that trains the plan's family by its method."""
    script = PurePosixPath(manifest.families[plan.model.family].cell(plan.model.method)["script"])
    return engine_options.load(SCHEMA / f"{script.stem}.json")


def unknown_keys(files: Mapping[PurePosixPath, str], options: EngineOptions) -> list[str]:
    """The sentences for every rendered key the engine's parsers do not know or would misread; must be empty.

    The engine itself says nothing: a key it does not know is dropped, and a value of the wrong type is kept.
    """
    tables = tomllib.loads(files[render.CONFIG])
    found = [f"{name}: only tables one level deep are read." for name, table in tables.items() if _nested(table)]
    for table in tables.values():
        found += options.complaints(table)
    kind = "_finetuning" if pictures.METADATA in files else ""
    for entry in tomllib.loads(files[render.DATASET])["datasets"]:
        found += engine_options.load(SCHEMA / f"dataset{kind}.json").complaints(entry)
        for subset in entry["subsets"]:
            found += engine_options.load(SCHEMA / f"subset{kind}.json").complaints(subset)
    if render.PROMPTS in files:
        found += [f"prompt: {name}" for each in json.loads(files[render.PROMPTS]) for name in each.keys() - PROMPT_KEYS]
    return found


def _nested(table: Any) -> bool:
    return not isinstance(table, dict) or any(isinstance(value, dict) for value in table.values())
