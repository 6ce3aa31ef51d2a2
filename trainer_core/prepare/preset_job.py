"""A job on the GPU that its memory preset is for: whether it fits by the estimate, and how large its samples can be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from trainer_core.draft import prefill
from trainer_core.draft.layers import Source
from trainer_core.draft.relevance import Scope
from trainer_core.estimate import memory
from trainer_core.estimate.job import GIB, Workload
from trainer_core.hardware import Accelerator
from trainer_core.plan import fields

if TYPE_CHECKING:
    from trainer_core.catalog.presets import Preset
    from trainer_core.draft.layers import Draft
    from trainer_core.engines.seam import Backend

ARCHITECTURE = "8.9"
"""A compute capability with bf16, as those of the GPUs that the presets were written for."""
SHARE = 0.95
"""The share of a GPU's memory that the middle of an estimate may take: a desktop uses the rest."""
SIDE_STEP, LEAST_SIDE, MULTIPLE = 256, 512, 64
"""Smaller samples in pixels: their larger side is a multiple of the first, at least the second; both sides are multiples of the third."""


def workload(draft: Draft, preset: Preset | None, backend: Backend | None) -> Workload | None:
    """The job on the GPU of a preset, with the precision that Easel proposes there; None if that cannot be said."""
    if backend is None or preset is None or draft.value_problems():
        return None
    size = int(preset.vram_gib * GIB)
    machine = replace(draft.facts.machine, accelerators=(Accelerator("cuda", preset.title, size, size, ARCHITECTURE),))
    facts, claim = replace(draft.facts, machine=machine), Scope.of(draft, backend).claim
    # The draft has the precision of this machine, which is fp32 without a GPU.
    precisions = claim.cell(draft.text("model.method")).precisions if claim else ()
    there = draft.with_values(Source.PREFILL, prefill.values(facts, precisions))
    return Workload.of(there.sketch(), facts, backend.manifest)


def fits(job: Workload, vram_gib: float) -> bool:
    """Whether a job likely fits this memory, with all that the run does."""
    return _fit([memory.vram_gib(job)], vram_gib)


def smaller_samples(draft: Draft, preset: Preset, backend: Backend | None) -> dict[str, int]:
    """The largest sizes with which samples fit the GPU of the preset; {} if the usual ones fit, the user set one, or none fits."""
    job = workload(draft, preset, backend)
    if job is None or any(draft.source_of(path) is Source.USER for path in sample_sides()):
        return {}
    return sizes_that_fit(job, preset.vram_gib)


def sizes_that_fit(job: Workload, vram_gib: float) -> dict[str, int]:
    """Width and height of the largest smaller samples that fit this memory; {} if the present ones fit, or none does."""
    sampling = job.plan.sampling
    longest = max(sampling.width, sampling.height)
    if _samples_fit(job, vram_gib):
        return {}
    for side in range((longest - 1) // SIDE_STEP * SIDE_STEP, LEAST_SIDE - 1, -SIDE_STEP):
        update = {name: _scaled(getattr(sampling, name), side / longest) for name in sample_sides().values()}
        plan = job.plan.model_copy(update={"sampling": sampling.model_copy(update=update)})
        if _samples_fit(replace(job, plan=plan), vram_gib):
            return {path: update[name] for path, name in sample_sides().items()}
    return {}


def sample_sides() -> dict[str, str]:
    """The names of the settings for the width and the height of samples, by path."""
    known = fields.all_fields()
    return {path: each.name for path, each in known.items() if each.about.is_side and each.section == "sampling"}


def _scaled(side: int, factor: float) -> int:
    return max(MULTIPLE, round(side * factor / MULTIPLE) * MULTIPLE)


def _samples_fit(job: Workload, vram_gib: float) -> bool:
    """Whether making samples fits, whatever the other phases need."""
    return _fit(
        (phase.range_gib(job) for phase in memory.phases(job) if phase.name == memory.SAMPLES),
        vram_gib,
    )


def _fit(ranges: Iterable[tuple[float, float]], vram_gib: float) -> bool:
    return all((low * high) ** 0.5 <= SHARE * vram_gib for low, high in ranges)
