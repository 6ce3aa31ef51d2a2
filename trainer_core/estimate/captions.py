"""What makes encoding captions take less, where that is when memory is highest: a large text encoder stays whole while it encodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainer_core import catalog
from trainer_core.detection import Detection
from trainer_core.estimate.job import Job
from trainer_core.plan.facts import Facts
from trainer_core.plan.sections import TrainingPlan

if TYPE_CHECKING:
    from trainer_core.backend import BackendManifest

EIGHT_BITS = "F8_E4M3"
"""The number format of a text encoder in 8 bits that sd-scripts takes. Source: flux_train_network.py, load_target_model."""


def lighter(
    plan: TrainingPlan, facts: Facts, manifest: BackendManifest | None
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What makes encoding captions take less, the cheapest first, each with a name: the changes by dotted path."""
    job = Job.of(plan, facts, manifest)
    if job is None or job.captions_on_cpu:
        return
    usual = job.habits
    if usual.captions_on_cpu:
        yield "captions encoded on the computer", _native(plan, usual.id, {usual.captions_on_cpu: True})
    for name in _heavy(job):
        for entry in facts.beside.candidates.get(name, ()) if facts.beside else ():
            if entry.found and entry.found.dtype == EIGHT_BITS:
                changes = {f"model.{name}": str(entry.file)}
                yield (
                    "a text encoder in 8 bits",
                    changes | ({"memory.fp8_base": True} if usual.eight_bits_need_base else {}),
                )
                break
    if asked := usual.captions_in_8_bits.get(job.model.family):
        yield "the large text encoder in 8 bits", _native(plan, usual.id, asked)


def known(facts: Facts, before: TrainingPlan, after: TrainingPlan) -> Facts:
    """The facts once a plan has become another one: a text encoder may be another file of the library."""
    there = facts.beside.candidates.items() if facts.beside else ()
    named = {
        name: entry.found
        for name, entries in there
        for entry in entries
        if entry.found and str(entry.file) == getattr(after.model, name, "") != getattr(before.model, name, "")
    }
    return replace(facts, parts={**facts.parts, **named}) if named else facts


def with_eight_bits(job: Job, facts: Facts) -> tuple[str, Facts] | None:
    """The facts as they would be with a text encoder in 8 bits that has yet to be fetched, and the link to it."""
    for name in _heavy(job) if not job.captions_on_cpu else ():
        sources = catalog.parts()[name].sources_for(job.model.family)
        if sources:
            supposed = Detection(None, "text_encoder", name, dtype=EIGHT_BITS)
            return f"hf:{sources[0].repo}/{sources[0].file}", replace(facts, parts={**facts.parts, name: supposed})
    return None


def _heavy(job: Job) -> list[str]:
    """The text encoders that would stay in 8 bits if their file was in 8 bits, and is not."""
    taken = job.habits.eight_bit_files or ()
    return [name for name in job.model.encoders if name in taken and not job.file_dtypes.get(name, "").startswith("F8")]


def _native(plan: TrainingPlan, engine: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """Native settings beside those that a plan has."""
    return {"native": {**plan.native, engine: {**plan.native.get(engine, {}), **more}}}
