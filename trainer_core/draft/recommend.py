"""Recommended values for the model and the dataset, for a user who sets nothing. They override only the defaults.

The defaults suit only one family (512 pixels) or nobody (no samples, no name). With `State.plain` nothing is recommended.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from trainer_core.catalog import methods
from trainer_core.plan import fields
from trainer_core.plan.names import as_file_name

if TYPE_CHECKING:
    from trainer_core.catalog.methods import Method
    from trainer_core.draft.layers import Draft

SAMPLES_PER_RUN = 8
"""Enough to see at which step the result was best, and few enough to take little time."""
LEAST_STEPS_PER_SAMPLE = 50
SMALL_STATES = ("lora", "textual_inversion")
"""The methods whose states do not contain the whole model with its optimizer."""
# sd-scripts reads the number of repeats from such folder names: "10_elena".
_REPEATS = re.compile(r"^\d+_")


def values(draft: Draft, family: str) -> dict[str, Any]:
    """The recommended values for a job, by dotted path, except those that depend on the number of steps."""
    found: dict[str, Any] = dict(_method(draft).values)
    if name := _name(draft):
        found["output.name"] = name
    if side := resolution(draft, family):
        found |= dict.fromkeys(_sides(), side)
    found |= _of_samples(draft, family)
    if _has_small_states(draft):
        found["output.keep_states"] = 1
    return found


def resolution(draft: Draft, family: str) -> int:
    """The native resolution of the model in pixels; 0 if unknown."""
    if not family:
        return 0
    from trainer_core.models.families import load_families

    known, detection = load_families().get(family), draft.facts.detection
    variant, prediction = (detection.variant or "", detection.prediction or "") if detection else ("", "")
    return known.resolution_of(variant, draft.text("model.prediction") or prediction) if known else 0


def _of_samples(draft: Draft, family: str) -> dict[str, Any]:
    """How samples of such a model are made, by dotted path; {} if unknown."""
    from trainer_core.models import variants
    from trainer_core.models.families import load_families

    known = load_families().get(family)
    if known is None:
        return {}
    variant = draft.text("model.variant") or variants.likely(family, draft.facts.detection)
    found = {**known.samples, **known.own_samples.get(variant, {})}
    return {**_of_sampling(found), **of_distilled(draft, family)}


def of_distilled(draft: Draft, family: str) -> dict[str, Any]:
    """What samples of a model need that was distilled to few steps, by dotted path; {} if it was not, or if nothing is known."""
    from trainer_core.models import variants
    from trainer_core.models.families import load_families

    if not variants.distilled(family, draft.facts.detection, draft.text("model.variant")):
        return {}
    return _of_sampling(load_families()[family].distilled_samples)


def _of_sampling(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"sampling.{name}": value for name, value in values.items()}


def _set_for_samples() -> set[str]:
    """The settings that some family has a value for."""
    from trainer_core.models.families import load_families

    tables = (table for family in load_families().values() for table in (family.samples, family.distilled_samples))
    return {path for table in tables for path in _of_sampling(table)}


def _has_small_states(draft: Draft) -> bool:
    """Whether a state is small enough to keep one without asking: not if it contains every weight of the model."""
    trained, algorithm = draft.usable_values["model.method"], draft.usable_values["network.algorithm"]
    return trained in SMALL_STATES and (trained != "lora" or algorithm != "full")


def samples(draft: Draft, family: str) -> dict[str, Any]:
    """How often samples are made in a run, by dotted path; {} if no sample is recommended.

    On a CPU one sample can take as long as the training.
    """
    steps = draft.usable_values["schedule.steps"]
    if not family or draft.facts.machine.accelerator.kind == "cpu":
        return {}
    every = round(steps / SAMPLES_PER_RUN / LEAST_STEPS_PER_SAMPLE) * LEAST_STEPS_PER_SAMPLE
    return {"sampling.every_steps": max(LEAST_STEPS_PER_SAMPLE, every)}


def reasons(draft: Draft) -> dict[str, str]:
    """The reasons of the recommended values, by dotted path."""
    return {
        **_method(draft).reasons,
        "output.name": "the trigger word." if draft.text("dataset.trigger").strip() else "the dataset's folder.",
        **dict.fromkeys(_sides(), "the native resolution of the model."),
        **dict.fromkeys(_set_for_samples(), "samples of such a model are usually made so."),
        "output.keep_states": "a state of this training is small, and an interrupted run can be resumed from it.",
        "sampling.every_steps": f"about {SAMPLES_PER_RUN} samples in a run.",
    }


def _method(draft: Draft) -> Method:
    """What is known about the method of a job."""
    return methods.shipped()[draft.usable_values["model.method"]]


def _sides() -> list[str]:
    return [path for path, setting in fields.all_fields().items() if setting.about.is_side]


def _name(draft: Draft) -> str:
    """A name for the result: the trigger word, or else the name of the dataset's folder; "" if there is neither."""
    trigger, folder = draft.text("dataset.trigger"), draft.text("dataset.path")
    last = PurePath(os.path.normpath(folder)).name if folder else ""
    return as_file_name(trigger) or as_file_name(_REPEATS.sub("", last)) or as_file_name(last)
