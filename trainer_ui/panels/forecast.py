"""The figures of the bar: length, time, size and memory of the training that is being prepared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer_core.prepare.forecast import Forecast

TONES = {"yes": "fits", "maybe": "tight", "no": "over"}
MIB = 1024**2


def figures(values: Mapping[str, Any], seen: Forecast | None) -> list[tuple[str, str, str]]:
    """The figures as (label, value, smaller text), memory last; without those that are not known."""
    steps = values["schedule.steps"]
    length = f"{steps:,} steps" if isinstance(steps, int) else ""
    if seen is None:
        return [("Length", length, "")]
    from trainer_core.estimate import formatting

    found = seen.estimate
    epochs = (
        ""
        if found.epochs is None
        else f"{found.epochs:,.0f} epochs"
        if found.epochs >= 10
        else f"{found.epochs:.2g} epochs"
    )
    time = formatting.span(found.seconds) if found.seconds[1] > 0 and found.is_time_known else ""
    size = f"{found.lora_mib * MIB / 1e6:,.0f} MB" if found.lora_mib > 0 else ""
    return [
        ("Length", length, epochs),
        ("Time", time or "not known yet", "") if found.seconds[1] > 0 else ("Time", "", ""),
        ("File", size, ""),
        _memory(seen),
    ]


def _memory(seen: Forecast) -> tuple[str, str, str]:
    need = _need(seen)
    if need <= 0:
        return "Memory", "", ""
    label = "GPU memory" if seen.estimate.vram_gib[1] > 0 else "Memory"
    return label, f"{need:.1f}", f"of {seen.fit.free_gib:.1f} GB free"


def _need(seen: Forecast) -> float:
    """The memory that the training likely takes at most, in GiB: that of the GPU, or of the system without one."""
    return seen.estimate.vram_gib[1] or seen.estimate.ram_gib


def meter(seen: Forecast | None) -> tuple[float, float, str] | None:
    """How much of the memory is needed, where the free memory ends (both from 0 to 1), and whether it fits."""
    if seen is None or seen.fit.total_gib <= 0 or _need(seen) <= 0:
        return None
    total = seen.fit.total_gib
    return _need(seen) / total, seen.fit.free_gib / total, TONES[seen.fit.fits]
