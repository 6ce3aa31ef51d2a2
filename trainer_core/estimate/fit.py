"""Whether an estimate fits into the free memory, and which programs use the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from trainer_core.estimate.gpu_processes import GpuProcess
from trainer_core.estimate.job import GIB
from trainer_core.estimate.result import Estimate
from trainer_core.hardware import Machine

LEAST_HELD = 0.1
"""GiB of VRAM; programs that use less are not listed."""
RAM_SPREAD = 0.15
"""The relative error of the estimate of system RAM."""


@dataclass(frozen=True)
class Fit:
    """Whether a training fits: "yes", "maybe" (the range crosses what is free) or "no".

    `free_gib` and `total_gib` are VRAM, or system RAM on a machine without a GPU. `held` are the programs that use VRAM,
    each with its GiB. `sentence` is the summary; `also` are sentences about other shortages: system RAM, disk space.
    `without_states` is the one about the disk, if the run folder would fit without states; else "".
    """

    fits: Literal["yes", "maybe", "no"]
    free_gib: float
    total_gib: float
    held: tuple[tuple[str, float], ...]
    sentence: str
    also: tuple[str, ...] = ()
    without_states: str = ""


def against(estimate: Estimate, machine: Machine, gpu_processes: Sequence[GpuProcess] = ()) -> Fit:
    """Whether an estimate fits into the free memory of a machine; `gpu_processes` are named if they are in the way."""
    device = machine.accelerator
    need = (estimate.ram_gib * (1 - RAM_SPREAD), estimate.ram_gib * (1 + RAM_SPREAD))
    if device.kind == "cpu":
        fit = _judged(need, machine.free_ram_bytes / GIB, machine.ram_bytes / GIB, (), "of system RAM")
        return replace(
            fit, also=tuple(_short_disk(estimate, machine)), without_states=_too_many_states(estimate, machine)
        )
    free, total = device.free_vram_bytes / GIB, device.vram_bytes / GIB
    held: tuple[tuple[str, float], ...] = ()
    if estimate.vram_gib[1] > free:
        sizes = ((process.name, process.bytes / GIB) for process in gpu_processes)
        held = tuple((name, size) for name, size in sizes if size >= LEAST_HELD)
    fit = _judged(estimate.vram_gib, free, total, held, "of VRAM")
    also = (*_short_ram(need[0], machine), *_short_disk(estimate, machine))
    return replace(fit, also=also, without_states=_too_many_states(estimate, machine))


def _short_ram(least: float, machine: Machine) -> Iterator[str]:
    """The sentence that loading needs more system RAM than is free."""
    free = machine.free_ram_bytes / GIB
    if least > free:
        yield f"Loading needs at least {least:.0f} GiB of system RAM, but {free:.0f} GiB are free."


def _short_disk(estimate: Estimate, machine: Machine) -> Iterator[str]:
    """The sentence that the run folder needs more disk space than is free."""
    free = machine.disk_bytes / GIB
    if estimate.disk_gib > free:
        states = f", {estimate.states_gib:.1f} of them for states" if estimate.states_gib >= 0.1 else ""
        needs = f"The run folder needs about {estimate.disk_gib:.1f} GiB with all checkpoints and samples{states}"
        yield f"{needs}, but {free:.1f} GiB of the disk are free. Free some space, or save less often."


def _too_many_states(estimate: Estimate, machine: Machine) -> str:
    """The sentence about the disk, if only the states do not fit; else ""."""
    fits = estimate.disk_gib - estimate.states_gib <= machine.disk_bytes / GIB
    return next(_short_disk(estimate, machine), "") if fits else ""


def _judged(
    need: tuple[float, float], free: float, total: float, held: tuple[tuple[str, float], ...], what: str
) -> Fit:
    low, high = need
    if high <= 0 or total <= 0:
        sentence = (
            f"It is not known whether it fits: {'the needed memory' if high <= 0 else f'the amount {what}'} is unknown."
        )
        return Fit("maybe", free, total, held, sentence)
    verdict: Literal["yes", "maybe", "no"] = "yes" if high <= free else "no" if low > free else "maybe"
    word = {"yes": "It fits", "maybe": "It may not fit", "no": "It does not fit"}[verdict]
    sentence = f"{word}: it needs {low:.1f} to {high:.1f} GiB, and {free:.1f} of {total:.1f} GiB {what} are free."
    if held:
        sentence += f" {', '.join(f'{name} uses {size:.1f} GiB' for name, size in held[:3])}."
        if verdict != "yes" and low <= total:
            sentence += " Close it to make room." if len(held) == 1 else " Close one to make room."
    return Fit(verdict, free, total, held, sentence)
