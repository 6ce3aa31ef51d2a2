"""Plans, machines and places for the tests of engines, and the check that no setting is dropped without a word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer_core.backend import Backend, Place
from trainer_core.hardware import Accelerator, Machine
from trainer_core.plan import fields, rules
from trainer_core.plan.facts import Facts
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem

GIB = 1024**3
CPU = Accelerator("cpu", "a processor")
CARD = Accelerator("cuda", "a card", 24 * GIB, 23 * GIB, "8.9")

STAGED = frozenset({"dataset.path", "dataset.caption_extension", "dataset.trigger"})
"""Carried out by staging: it reads the captions and writes them beside the links."""
DELIVERED = frozenset({"output.folder", "output.copy_to"})
"""Carried out after the run: the finished file is brought there."""
NAMED_BY_CORE = frozenset({"output.name", "output.prefix"})

# What must be on for a setting to mean anything.
CONTEXTS: Mapping[str, Mapping[str, Any]] = {
    "sampling": {"sampling.every_steps": 10, "sampling.negative_prompt": "text"},
    "optimizer.text_encoder_learning_rate": {"network.train_text_encoder": True},
    "schedule.restarts": {"schedule.scheduler": "cosine_with_restarts"},
    "schedule.warmup_steps": {"schedule.scheduler": "constant_with_warmup"},
    "dataset.keep_tokens": {"dataset.shuffle_captions": True},
    "schedule.min_rate_ratio": {"schedule.scheduler": "cosine_with_min_lr"},
    "schedule.power": {"schedule.scheduler": "polynomial"},
    "schedule.timescale": {"schedule.scheduler": "inverse_sqrt"},
    "schedule.decay_steps": {"schedule.scheduler": "warmup_stable_decay", "schedule.decay_steps": 100},
}
SCHEDULE_FREE = {
    "optimizer.name": "ProdigyPlusScheduleFree",
    "optimizer.learning_rate": 1.0,
    "schedule.scheduler": "constant",
}


def machine(*accelerators: Accelerator) -> Machine:
    """A machine with these devices."""
    return Machine(accelerators or (CPU,), 16 * GIB, 12 * GIB, 100 * GIB, 4, "Linux x86_64", {})


def cells(backend: Backend) -> list[tuple[str, str]]:
    """Every (family, method) that an engine claims."""
    return [(family, method) for family, claim in sorted(backend.manifest.families.items()) for method in claim.methods]


def plan(family: str, **values: Any) -> TrainingPlan:
    """A plan that trains this family on a GPU; `values` by path, with two underscores for the dot."""
    changed = {path.replace("__", "."): value for path, value in values.items() if path != "native"}
    flat = {path: setting.default for path, setting in fields.all_fields().items()}
    flat |= {
        "model.path": "/models/base.safetensors" if family == "sd15" else "/models/base",
        "model.family": family,
        "dataset.path": "/pictures",
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


def other_value(setting: fields.SettingField) -> Any:
    """A value of this setting that is allowed and is not its default."""
    if setting.choices:
        return next(choice for choice in sorted(setting.choices, reverse=True) if choice not in ("", setting.default))
    if setting.base_type is bool:
        return not setting.default
    if setting.default is None:
        low = 0 if setting.minimum is None else setting.minimum
        high = 1 if setting.maximum is None else setting.maximum
        return setting.base_type(low + (high - low) / 2)
    if setting.path == "schedule.flow_shift":
        return 2.5  # 1 is what some families have anyway
    if isinstance(setting.default, int | float):
        larger = setting.default + max(1, setting.default)
        inside = setting.maximum is None or larger < setting.maximum
        return type(setting.default)(larger if inside else (setting.minimum or 0) + 0.25)
    return {"dataset.caption_extension": ".caption", "model.vae": "/models/vae.safetensors"}.get(
        setting.path, "another"
    )


def problems(backend: Backend, case: TrainingPlan, *accelerators: Accelerator) -> list[Problem]:
    """What the core's rules and the engine's say of a plan, but for files that are not there in a test."""
    where = machine(*(accelerators or (CARD,)))
    found = [*rules.check(rules.Case(case, Facts(where), backend)), *backend.problems(case, where)]
    return [problem for problem in found if "does not exist" not in problem.message]


def dropped_settings(
    backend: Backend, family: str, method: str, where: Place, owned_elsewhere: frozenset[str]
) -> Iterator[str]:
    """The paths of settings that change neither the rendered job nor what is said about the plan."""
    for path, setting in fields.all_fields().items():
        if path in owned_elsewhere or len(setting.choices) == 1 or path in ("model.family", "model.method"):
            continue
        for context in _contexts(path):
            given = {"model.method": method, **context}
            before = plan(family, **{key.replace(".", "__"): value for key, value in given.items()})
            given[path] = other_value(setting)
            after = plan(family, **{key.replace(".", "__"): value for key, value in given.items()})
            said = problems(backend, after)
            refused = {problem.path for problem in said} & {path, *context}
            if refused or said != problems(backend, before):
                continue
            if backend.render(before, where) == backend.render(after, where):
                yield path


def _contexts(path: str) -> Iterator[Mapping[str, Any]]:
    """What a setting is changed in: as it is, where it has a meaning, and where it cannot have one."""
    if path.startswith("sampling."):
        yield CONTEXTS["sampling"]  # of no samples at all nothing need be said
        return
    yield {}
    if path in CONTEXTS:
        yield CONTEXTS[path]
    if path.startswith("schedule."):
        yield SCHEDULE_FREE
        yield {**SCHEDULE_FREE, **CONTEXTS.get(path, {})}
