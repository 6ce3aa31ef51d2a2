"""The facts about a run that the history shows for every run. They are recorded in its versions.json, which is read quickly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core.plan import fields, subject
from trainer_core.plan.prompts import texts
from trainer_core.plan.sections import TrainingPlan

LONGEST = 2000
"""The length in characters up to which a text is recorded."""


def facts(plan: TrainingPlan, images: int) -> dict[str, Any]:
    """How many images a run has, and what it trains."""
    return {"images": images, "about": of_plan(plan.model_dump(exclude_none=True))}


def of_plan(tables: Mapping[str, Any]) -> dict[str, Any]:
    """What a plan trains: its subject, model, family, method and name, and every setting that differs from Easel's default."""
    flat, known = fields.flatten(tables), fields.all_fields()
    settings = {
        path: value
        for path, value in flat.items()
        if path not in known or not _same(value, known[path].default)
        if path == "native" or all(len(text) <= LONGEST for text in texts(value))
    }

    def text(path: str) -> str:
        value = flat.get(path)
        return value[:LONGEST] if isinstance(value, str) else ""

    return {
        "subject": subject.shown(flat),
        "name": text("output.prefix") + text("output.name"),
        "model": Path(text("model.path")).name,
        "family": text("model.family"),
        "method": text("model.method"),
        "settings": {path: value for path, value in settings.items() if value or path != "native"},
    }


def _same(value: Any, default: Any) -> bool:
    """Whether a value is the default; true is not 1."""
    return value == default and isinstance(value, bool) == isinstance(default, bool)
