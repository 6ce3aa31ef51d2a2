"""Whether a job with its memory preset needs more memory than the GPU that the preset is for.

A preset has settings for every engine. What an engine needs beside the model, such as a large text encoder while captions are
encoded, is not in them: the estimate counts it, and the job says so before the start.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainer_core.draft.layers import Source
from trainer_core.estimate import captions, memory
from trainer_core.estimate.job import GIB, Workload
from trainer_core.prepare import preset_job
from trainer_core.problems import Fix, Problem, blocking

if TYPE_CHECKING:
    from trainer_core.prepare.state import State

OFFLOAD, EIGHT_BITS, SAMPLES = "memory.offload_checkpointing", "memory.fp8_base", "sampling.every_steps"
NOTHING = "No change that Easel tries makes it fit: use a larger GPU, or reset settings of yours that need more than the preset's."
RESOLUTION, SIDES = "dataset.resolution", (1024, 768, 512)
BATCH, BATCHES = "schedule.batch_size", "schedule.gradient_accumulation"
Change = tuple[str, Mapping[str, Any]]


def shortfall(state: State, *, finds_fix: bool = True) -> Problem | None:
    """The Problem of a preset that is too small for this model and engine; None if it is not, or if nothing is known.

    The search for its fix takes most of the time.
    """
    preset, job, message = state.preset, _job(state), sentence(state)
    if preset is None or job is None or not message:
        return None
    has_more = state.facts.machine.accelerator.vram_bytes > preset.vram_gib * GIB
    return Problem(
        "", "info" if has_more else "warning", message, _fix(state, job, preset.vram_gib) if finds_fix else None
    )


def sentence(state: State) -> str:
    """What is said of a preset that is too small for this model and engine; "" if it is not, or if nothing is known."""
    preset, job = state.preset, _job(state)
    if preset is None or job is None or preset_job.fits(job, preset.vram_gib):
        return ""
    low, high = memory.vram_gib(job)
    does = "does not fit into" if low > preset.vram_gib else "may not fit into"
    return (
        f"By the estimate this training {does} the {preset.vram_gib:g} GB that its memory preset is for: it needs {low:.1f} "
        f"to {high:.1f} GiB, the most while {memory.phases(job)[0].name}."
    )


def sample_note(state: State) -> Problem | None:
    """The note that samples are smaller than usual, so that they fit; None if they are not."""
    if state.preset is None or not state.smaller:
        return None
    usual = state.draft.without(Source.PREFILL, *state.smaller).values
    message = (
        f"Samples are made in {_shown(state.smaller)} px instead of {_shown({path: usual[path] for path in state.smaller})}: by the "
        f"estimate larger ones may not fit into the {state.preset.vram_gib:g} GB that the memory preset is for."
    )
    return Problem(next(iter(state.smaller)), "info", message)


def _shown(sizes: Mapping[str, Any]) -> str:
    return " x ".join(map(str, sizes.values()))


def can_fit(state: State) -> bool:
    """Whether the job can fit the GPU that its preset is for, as far as is known."""
    job = _job(state)
    return job is None or state.preset is None or memory.vram_gib(job)[0] <= state.preset.vram_gib


def _job(state: State) -> Workload | None:
    return preset_job.workload(state.draft, state.preset, state.backend)


def _fix(state: State, job: Workload, vram_gib: float) -> Fix:
    """The fewest changes with which the job fits and that bring no error; advice if there are none, with the reason."""
    refused = ""
    gentle = [change for change in _changes(state, job) if _is_known(state, change)]
    for possible in (gentle, [*gentle, *_smaller_images(job)]):
        for fix, after in _that_fit(state, possible, vram_gib):
            if (error := _error_brought(state, after)) is None:
                return fix
            refused = (
                refused
                or f"{fix.label}: with that it would fit, but not with these files and settings. {error.message}"
            )
    return Fix(refused or NOTHING)


def _that_fit(state: State, possible: Sequence[Change], vram_gib: float) -> Iterator[tuple[Fix, State]]:
    """Each combination of changes with which the job fits, those with the fewest changes first, and the job with them."""
    if not _fits(state.set({path: value for _, one in possible for path, value in one.items()}), vram_gib):
        return  # Each change needs less memory, so no part of them is enough.
    for count in range(1, len(possible) + 1):
        for chosen in itertools.combinations(possible, count):
            changes = {path: value for _, one in chosen for path, value in one.items()}
            after = state.set(changes)
            if _fits(after, vram_gib):
                yield Fix(f"Use {_listed([name for name, _ in chosen])}", changes), after


def _fits(state: State, vram_gib: float) -> bool:
    job = _job(state)
    return job is not None and preset_job.fits(job, vram_gib)


def _is_known(state: State, change: Change) -> bool:
    """Whether the program that trains this model has the engine's own options of a change."""
    error = _error_brought(state, state.set(change[1]))
    return error is None or not error.path.startswith("native.")


def _error_brought(state: State, after: State) -> Problem | None:
    """The first error that changes bring; None if they bring none."""
    known = {(each.path, each.message) for each in blocking(state.draft.problems(state.backend))}
    brought = (each for each in blocking(after.draft.problems(after.backend)) if (each.path, each.message) not in known)
    return next(brought, None)


def _smaller_images(job: Workload) -> Iterator[Change]:
    """Changes of what is trained, which presets make, too."""
    side = next((side for side in SIDES if side < job.plan.dataset.resolution), None)
    if side is not None:
        yield f"images of {side} px", {RESOLUTION: side}


def _changes(state: State, job: Workload) -> Iterator[Change]:
    """Changes that keep the result almost the same, the gentlest first."""
    plan, backend = job.plan, state.backend
    yield from itertools.islice(captions.lighter(plan, state.facts, backend.manifest if backend else None), 1)
    if state.scope.applies(OFFLOAD) and plan.memory.gradient_checkpointing and not plan.memory.offload_checkpointing:
        yield "activation offload to system RAM", {OFFLOAD: True}
    if state.preset and (sizes := preset_job.sizes_that_fit(job, state.preset.vram_gib)):
        yield f"samples of {_shown(sizes)} px", sizes
    if plan.sampling.every_steps:
        yield "no samples", {SAMPLES: 0}
    if state.scope.applies(EIGHT_BITS) and not plan.memory.fp8_base:
        yield "the base model in 8 bits", {EIGHT_BITS: True}
    if (batch := plan.schedule.batch_size) > 1:
        together = batch * plan.schedule.gradient_accumulation
        yield f"batches of one image, {together} for one step", {BATCH: 1, BATCHES: together}


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
