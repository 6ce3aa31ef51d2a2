"""Reads the plan that Easel writes into its results, for a profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trainer_core.errors import PlanError
from trainer_core.plan import fields
from trainer_core.plan.prompts import with_texts
from trainer_core.profiles.exporting import without_trigger
from trainer_core.profiles.lora_values import Found
from trainer_core.training import metadata as own

BASIS = "Easel's plan in its metadata"


def is_easels(metadata: Mapping[str, str]) -> bool:
    """Whether Easel delivered the file."""
    return own.is_easels(metadata)


def read(metadata: Mapping[str, str]) -> Iterator[Found]:
    """The settings of the plan that a profile may contain. The trigger word in a prompt becomes {trigger}."""
    try:
        recorded = own.read(metadata)
    except PlanError:
        return
    trigger = str(recorded.values.get("dataset.trigger", "")).strip()
    for path, value in recorded.values.items():
        if path in fields.all_fields() and fields.all_fields()[path].is_shared:
            yield Found(path, with_texts(value, lambda text: without_trigger(text, trigger)), BASIS)


def is_changed(metadata: Mapping[str, str]) -> bool:
    """Whether somebody changed the plan after Easel wrote it, or damaged it."""
    try:
        return not own.read(metadata).is_unchanged
    except PlanError:
        return True
