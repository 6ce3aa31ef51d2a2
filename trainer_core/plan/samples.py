"""The values of all sample prompts at once, for rules: where a value is, and the settings with it changed.

A value is in the setting that is shared by the prompts without their own, or in a prompt of `sampling.prompts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trainer_core.plan.results import SamplingSettings
from trainer_core.problems import Fix, Problem

LIST = "sampling.prompts"


def places_of(sampling: SamplingSettings, name: str, has: Callable[[Any], object]) -> list[str]:
    """The paths of the settings in which a sample has such a value: the shared one if a sample uses it, and the list."""
    own = [getattr(prompt, name) for prompt in sampling.prompts]
    is_used = not own or any(value is None for value in own)
    found = [f"sampling.{name}"] if is_used and has(getattr(sampling, name)) else []
    return found + ([LIST] if any(value is not None and has(value) for value in own) else [])


def changed(sampling: SamplingSettings, name: str, change: Callable[[Any], Any]) -> Mapping[str, Any]:
    """The settings with a value changed wherever a sample has it, by path; only those that differ."""
    shared = {f"sampling.{name}": change(getattr(sampling, name))}
    own = tuple(_changed(prompt.model_dump(), name, change) for prompt in sampling.prompts)
    before = {f"sampling.{name}": getattr(sampling, name), LIST: tuple(each.model_dump() for each in sampling.prompts)}
    return {path: value for path, value in {**shared, LIST: own}.items() if value != before[path]}


def _changed(prompt: Mapping[str, Any], name: str, change: Callable[[Any], Any]) -> dict[str, Any]:
    return {key: change(value) if key == name else value for key, value in prompt.items()}


def replaced(sampling: SamplingSettings, name: str, old: Any, new: Any) -> Mapping[str, Any]:
    """The settings with one value instead of another wherever a sample has it, by path."""
    return changed(sampling, name, lambda value: new if value == old else value)


def cleared(sampling: SamplingSettings, name: str, empty: Any) -> Mapping[str, Any]:
    """The settings with this value instead of every other, by path."""
    return changed(sampling, name, lambda _: empty)


def side_problems(sampling: SamplingSettings, step: int, message: str) -> Iterator[Problem]:
    """A Problem for each setting with a side of a sample that is not a multiple of `step`."""
    for name in ("width", "height"):
        fix = changed(sampling, name, lambda side: max(64, step, round(side / step) * step))
        for path in places_of(sampling, name, lambda side: side % step):
            words = f"Use {fix[path]}" if path != LIST else f"Use multiples of {step}"
            yield Problem(path, "error", message, Fix(words, {path: fix[path]}))
