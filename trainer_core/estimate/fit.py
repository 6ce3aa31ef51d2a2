"""Whether an estimate fits what is free, and who holds the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from trainer_core.estimate.holders import Holder, gpu_processes
from trainer_core.estimate.job import GIB
from trainer_core.estimate.result import Estimate
from trainer_core.hardware import Machine

LEAST_HELD = 0.1
"""GiB; who holds less is not worth naming."""
RAM_SPREAD = 0.15
"""How far the computer's own memory may lie off."""


@dataclass(frozen=True)
class Fit:
    """Whether a training fits: "yes", "maybe" (the range crosses what is free) or "no".

    `free_gib` and `total_gib` are of the GPU, on a machine without one of its own memory. `held` are the programs that hold
    the GPU's memory with GiB. `sentence` says it all; `also` are sentences on what else is short: the computer's memory, the disk.
    """

    fits: Literal["yes", "maybe", "no"]
    free_gib: float
    total_gib: float
    held: tuple[tuple[str, float], ...]
    sentence: str
    also: tuple[str, ...] = ()


def against(estimate: Estimate, machine: Machine, holders: Sequence[Holder] | None = None) -> Fit:
    """Whether an estimate fits what is free on this machine; the driver is asked who holds the rest unless it is given."""
    device = machine.accelerator
    need = (estimate.ram_gib * (1 - RAM_SPREAD), estimate.ram_gib * (1 + RAM_SPREAD))
    if device.kind == "cpu":
        fit = _judged(need, machine.free_ram_bytes / GIB, machine.ram_bytes / GIB, (), "of the computer's memory")
        return replace(fit, also=tuple(_short_disk(estimate, machine)))
    free, total = device.free_vram_bytes / GIB, device.vram_bytes / GIB
    held: tuple[tuple[str, float], ...] = ()
    if estimate.vram_gib[1] > free:
        known = gpu_processes() if holders is None else holders
        held = tuple((holder.name, holder.bytes / GIB) for holder in known if holder.bytes / GIB >= LEAST_HELD)
    fit = _judged(estimate.vram_gib, free, total, held, "of the GPU's memory")
    return replace(fit, also=(*_short_ram(need[0], machine), *_short_disk(estimate, machine)))


def _short_ram(least: float, machine: Machine) -> Iterator[str]:
    """That loading takes more of the computer's memory than is free."""
    free = machine.free_ram_bytes / GIB
    if least > free:
        yield f"Loading takes at least {least:.0f} GiB of the computer's memory, and {free:.0f} GiB are free."


def _short_disk(estimate: Estimate, machine: Machine) -> Iterator[str]:
    """That the run folder grows beyond what is free."""
    free = machine.disk_bytes / GIB
    if estimate.disk_gib > free:
        yield f"The run folder grows to about {estimate.disk_gib:.1f} GiB, and {free:.1f} GiB of the disk are free."


def _judged(
    need: tuple[float, float], free: float, total: float, held: tuple[tuple[str, float], ...], what: str
) -> Fit:
    low, high = need
    if high <= 0 or total <= 0:
        sentence = (
            f"It cannot be told whether it fits: {'the need' if high <= 0 else f'what there is {what}'} is not known."
        )
        return Fit("maybe", free, total, held, sentence)
    verdict: Literal["yes", "maybe", "no"] = "yes" if high <= free else "no" if low > free else "maybe"
    word = {"yes": "It fits", "maybe": "It may not fit", "no": "It does not fit"}[verdict]
    sentence = f"{word}: it takes {low:.1f} to {high:.1f} GiB, and {free:.1f} of {total:.1f} GiB {what} are free."
    if held:
        sentence += f" {', '.join(f'{name} holds {size:.1f} GiB' for name, size in held[:3])}."
        if verdict != "yes" and low <= total:
            sentence += " Close it to make room." if len(held) == 1 else " Close one to make room."
    return Fit(verdict, free, total, held, sentence)
