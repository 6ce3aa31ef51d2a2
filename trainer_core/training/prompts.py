"""The prompts of a run's samples: the text, the seed and the size of each, in the order of `events.Sample.prompt`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from trainer_core.errors import JobError
from trainer_core.plan.results import SamplingSettings
from trainer_core.text import printable

if TYPE_CHECKING:
    from trainer_core.training.run import Run

LONGEST = 300
TRIGGER = "{trigger}"


@dataclass(frozen=True)
class SamplePrompt:
    """The prompt of a row of samples; `width` and `height` are in pixels, 0 if they are not known.

    `has_trigger` is whether the trigger word is in it: a prompt without shows what else the training has changed.
    """

    text: str
    seed: int | None = None
    width: int = 0
    height: int = 0
    has_trigger: bool = True


def prompts_of(run: Run) -> tuple[SamplePrompt, ...]:
    """The prompts of a run, by their index; () if its plan cannot be read. A run folder may come from anybody."""
    try:
        plan = run.folder.plan
    except JobError:
        return ()
    return of_plan(plan)


def of_plan(plan: Mapping[str, Any]) -> tuple[SamplePrompt, ...]:
    """The prompts of a plan's tables: its list, or else the one prompt; values that do not fit this Easel are left out.

    None for an edit model: its samples are made of pairs of the dataset, and the engine chooses which.
    """
    sampling, dataset = plan.get("sampling", {}), plan.get("dataset", {})
    if _has_controls(dataset):
        return ()
    trigger = str(dataset.get("trigger", ""))
    try:
        prompts = SamplingSettings.model_validate(sampling).effective(trigger)
    except ValidationError:
        return _of_tables(sampling, trigger)
    return tuple(
        SamplePrompt(printable(each.text, LONGEST), each.seed, each.width, each.height, not trigger or each.has_trigger)
        for each in prompts
        if each.text
    )


def _has_controls(dataset: Mapping[str, Any]) -> bool:
    more = dataset.get("subsets")
    rows = (dataset, *(more if isinstance(more, list | tuple) else ()))
    return any(isinstance(row, dict) and bool(row.get("controls")) for row in rows)


def _of_tables(sampling: Mapping[str, Any], trigger: str) -> tuple[SamplePrompt, ...]:
    raw = str(sampling.get("prompt", ""))
    if not raw:
        return ()
    text = raw.replace(TRIGGER, trigger)
    width, height = _whole(sampling.get("width")) or 0, _whole(sampling.get("height")) or 0
    seed = _whole(sampling.get("seed"))
    return (SamplePrompt(printable(text, LONGEST), seed, width, height, not trigger or trigger in text),)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
