"""The Problems of a plan with musubi-tuner, found before the engine loads anything."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from backends.musubi import memory_rules, native_rules, render, rules
from backends.musubi.cell import cell_of
from trainer_core.engines import options as engine_options
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.options import EngineOptions
from trainer_core.engines.status import EngineStatus
from trainer_core.hardware import Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem

SCHEMA = Path(__file__).parent / "schema"


def check(plan: TrainingPlan, machine: Machine, status: EngineStatus, manifest: BackendManifest) -> list[Problem]:
    """All Problems of the plan with this engine; empty for families and methods it does not claim, which others report."""
    claim = manifest.families.get(plan.model.family)
    if claim is None or plan.model.method not in claim.methods:
        return []
    cell = cell_of(plan, manifest)
    return [
        *rules.check(plan, cell),
        *memory_rules.check(plan, machine, cell),
        *_native(plan, status, manifest),
    ]


def _native(plan: TrainingPlan, status: EngineStatus, manifest: BackendManifest) -> Iterator[Problem]:
    settings, options = plan.native.get(render.ID, {}), program_options(plan, manifest)
    found = list(engine_options.native_problems(render.ID, settings, manifest.options, options))
    yield from found
    if not found:
        yield from native_rules.check(plan, render.native(plan), status, manifest)


def program_options(plan: TrainingPlan, manifest: BackendManifest) -> EngineOptions:
    """The recorded options of the program that trains the plan's family."""
    program = PurePosixPath(cell_of(plan, manifest).program)
    return engine_options.shipped(SCHEMA / f"{program.stem}.json")


def unknown_keys(files: Mapping[PurePosixPath, str], options: EngineOptions) -> list[str]:
    """A sentence for each rendered key that the engine's parsers do not know or would misread; must be empty.

    The engine itself does not report them: it drops unknown keys of its configuration and keeps values of the wrong type.
    """
    found: list[str] = []
    for table in tomllib.loads(files[render.CONFIG]).values():
        found += options.complaints(table)
    for entry in tomllib.loads(files[render.DATASET])["datasets"]:
        found += engine_options.shipped(SCHEMA / "dataset.json").complaints(entry)
    return found
