"""Plans, machines and places for the tests of engines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer_core.draft import checks
from trainer_core.draft.facts import Facts
from trainer_core.draft.layers import Draft
from trainer_core.engines import registry
from trainer_core.engines.seam import Backend, Place
from trainer_core.engines.status import NOT_KNOWN, EngineStatus
from trainer_core.hardware import Accelerator, Machine
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.prepare import paths
from trainer_core.problems import Problem

GIB = 1024**3
CPU = Accelerator("cpu", "a processor")
CARD = Accelerator("cuda", "a card", 24 * GIB, 23 * GIB, "8.9")


def machine(*accelerators: Accelerator) -> Machine:
    """A machine with these devices."""
    return Machine(accelerators or (CPU,), 16 * GIB, 12 * GIB, 100 * GIB, 4, "Linux x86_64")


VARIANTS = {
    "auraflow": "auraflow",
    "flux2": "klein-9b",
    "ernie_image": "base",
    "krea2": "raw",
    "pixart": "sigma",
    "z_image": "base",
}
"""The variant of a model, for the families where a plan must say it."""


def looked(draft: Draft) -> Draft:
    """The draft over what lies at its paths now, and over all engines."""
    engines = dict.fromkeys((backend.manifest.id for backend in registry.available(include_hidden=True)), NOT_KNOWN)
    facts = replace(draft.facts, paths=paths.look(draft.values), engines={**engines, **draft.facts.engines})
    return draft.with_facts(facts)


def plan(family: str, **values: Any) -> TrainingPlan:
    """A plan that trains this family on a GPU; `values` by path, with two underscores for the dot."""
    changed = {path.replace("__", "."): value for path, value in values.items() if path != "native"}
    flat = {path: setting.default for path, setting in fields.all_fields().items()}
    flat |= {
        "model.path": "/models/base.safetensors" if family == "sd15" else "/models/base",
        "model.family": family,
        "model.variant": VARIANTS.get(family, ""),
        "dataset.path": "/images",
        "dataset.trigger": "blobbert",
        "output.name": "portrait",
        **changed,
    }
    return TrainingPlan.model_validate({**fields.nest(flat), "native": values.get("native", {})})


def place(**more: Any) -> Place:
    """A place in a home folder that does not exist."""
    home = Path("/home/user/easel")
    run = home / "runs" / "one"
    inside = {"run": run, "dataset": run / "dataset", "output": run / "output"}
    return Place(**inside, python=home / "venv/bin/python", **more)


def problems(
    backend: Backend, case: TrainingPlan, *accelerators: Accelerator, status: EngineStatus = NOT_KNOWN
) -> list[Problem]:
    """What the core's rules and the engine's say of a plan, but for files that are not there in a test."""
    where = machine(*(accelerators or (CARD,)))
    found = [*checks.check(checks.Case(case, Facts(where), backend)), *backend.problems(case, where, status)]
    return [problem for problem in found if "does not exist" not in problem.message]
