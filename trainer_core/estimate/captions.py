"""Changes that reduce the memory for encoding captions, which is the peak of a run if a text encoder is large."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainer_core import catalog
from trainer_core.draft.facts import Facts
from trainer_core.estimate.job import Workload
from trainer_core.models.detection import Detection
from trainer_core.plan.sections import TrainingPlan

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest

EIGHT_BITS = "F8_E4M3"
"""The dtype of a text encoder in 8 bits that sd-scripts supports. Source: flux_train_network.py, load_target_model."""


def lighter(
    plan: TrainingPlan, facts: Facts, manifest: BackendManifest | None
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Changes that reduce the memory for encoding captions, the cheapest first: a name, and the changes by dotted path."""
    job = Workload.of(plan, facts, manifest)
    if job is None or job.captions_on_cpu:
        return
    costs = job.costs
    if costs.captions_on_cpu:
        yield "captions encoded on the CPU", _native(plan, job.engine, {costs.captions_on_cpu: True})
    for name in _heavy(job):
        for entry in facts.companions.candidates.get(name, ()) if facts.companions else ():
            if entry.found and entry.found.dtype == EIGHT_BITS:
                changes = {f"model.{name}": str(entry.file)}
                yield (
                    "a text encoder in 8 bits",
                    changes | ({"memory.fp8_base": True} if costs.eight_bits_need_base else {}),
                )
                break
    if settings := costs.captions_in_8_bits.get(job.model.family):
        yield "the large text encoder in 8 bits", _native(plan, job.engine, settings)


def facts_for(facts: Facts, before: TrainingPlan, after: TrainingPlan) -> Facts:
    """The facts for the changed plan, which may use another text encoder from the library."""
    candidates = facts.companions.candidates.items() if facts.companions else ()
    named = {
        name: entry.found
        for name, entries in candidates
        for entry in entries
        if entry.found and str(entry.file) == getattr(after.model, name, "") != getattr(before.model, name, "")
    }
    return replace(facts, parts={**facts.parts, **named}) if named else facts


def with_eight_bits(job: Workload, facts: Facts) -> tuple[str, str, Facts] | None:
    """A text encoder in 8 bits to download: its setting, the link, and the facts as they would be with it."""
    for name in _heavy(job) if not job.captions_on_cpu else ():
        sources = catalog.parts()[name].sources_for(job.model.family)
        if sources:
            assumed = Detection(None, "text_encoder", name, dtype=EIGHT_BITS)
            link = f"hf:{sources[0].repo}/{sources[0].file}"
            return f"model.{name}", link, replace(facts, parts={**facts.parts, name: assumed})
    return None


def _heavy(job: Workload) -> list[str]:
    """The text encoders that the engine could keep in 8 bits, but whose files are not in 8 bits."""
    supported = job.costs.eight_bit_files or ()
    return [
        name for name in job.model.encoders if name in supported and not job.file_dtypes.get(name, "").startswith("F8")
    ]


def _native(plan: TrainingPlan, engine: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """The plan's native settings with more of them added."""
    return {"native": {**plan.native, engine: {**plan.native.get(engine, {}), **more}}}
