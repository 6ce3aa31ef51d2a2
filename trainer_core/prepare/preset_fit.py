"""Whether a job with its memory preset needs more memory than the GPU that the preset is for.

A preset has settings for every engine. What an engine needs beside the model, such as a large text encoder while captions are
encoded, is not in them: the estimate counts it, and the job says so before the start.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainer_core.estimate import captions, memory
from trainer_core.estimate.job import GIB, Workload
from trainer_core.hardware import Accelerator
from trainer_core.problems import Fix, Problem

if TYPE_CHECKING:
    from trainer_core.prepare.state import State

SHARE = 0.95
"""The share of a GPU's memory that the middle of an estimate may take: a desktop uses the rest."""
OFFLOAD, EIGHT_BITS, SAMPLES = "memory.offload_checkpointing", "memory.fp8_base", "sampling.every_steps"
Change = tuple[str, Mapping[str, Any]]


def shortfall(state: State, *, seeks_fix: bool = True) -> Problem | None:
    """The Problem of a preset that is too small for this model and engine; None if it is not, or if nothing is known.

    Its fix, which takes far longer, is sought only if `seeks_fix`.
    """
    preset, job = state.preset, _job(state)
    if preset is None or job is None or _middle(job) <= SHARE * preset.vram_gib:
        return None
    low, high = memory.vram_gib(job)
    does = "does not fit into" if low > preset.vram_gib else "may not fit into"
    message = (
        f"By the estimate this training {does} the {preset.vram_gib:g} GB that its memory preset is for: it needs {low:.1f} "
        f"to {high:.1f} GiB, the most while {memory.phases(job)[0].name}."
    )
    has_more = state.facts.machine.accelerator.vram_bytes > preset.vram_gib * GIB
    severity = "info" if has_more or low <= preset.vram_gib else "warning"
    return Problem("", severity, message, _fix(state, job, preset.vram_gib) if seeks_fix else None)


def can_fit(state: State) -> bool:
    """Whether the job can fit the GPU that its preset is for, as far as is known."""
    job = _job(state)
    return job is None or state.preset is None or memory.vram_gib(job)[0] <= state.preset.vram_gib


def _job(state: State) -> Workload | None:
    """The job on the GPU of its preset; None if that cannot be said."""
    backend, preset = state.backend, state.preset
    if backend is None or preset is None or state.draft.value_problems():
        return None
    size = int(preset.vram_gib * GIB)
    machine = replace(state.facts.machine, accelerators=(Accelerator("cuda", preset.title, size, size),))
    return Workload.of(state.draft.sketch(), replace(state.facts, machine=machine), backend.manifest)


def _middle(job: Workload) -> float:
    low, high = memory.vram_gib(job)
    return (low * high) ** 0.5


def _fix(state: State, job: Workload, vram_gib: float) -> Fix | None:
    """The fewest changes with which the job fits."""
    possible = list(_changes(state, job))
    for count in range(1, len(possible) + 1):
        for chosen in itertools.combinations(possible, count):
            changes = {path: value for _, one in chosen for path, value in one.items()}
            after = _job(state.set(changes))
            if after is not None and _middle(after) <= SHARE * vram_gib:
                return Fix(f"Use {_listed([name for name, _ in chosen])}", changes)
    return None


def _changes(state: State, job: Workload) -> Iterator[Change]:
    """Changes that keep the result almost the same, the gentlest first."""
    plan, backend = job.plan, state.backend
    yield from itertools.islice(captions.lighter(plan, state.facts, backend.manifest if backend else None), 1)
    if state.scope.applies(OFFLOAD) and plan.memory.gradient_checkpointing and not plan.memory.offload_checkpointing:
        yield "activation offload to system RAM", {OFFLOAD: True}
    if plan.sampling.every_steps:
        yield "no samples", {SAMPLES: 0}
    if state.scope.applies(EIGHT_BITS) and not plan.memory.fp8_base:
        yield "the base model in 8 bits", {EIGHT_BITS: True}


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
