"""The figures of the bar: length, time, size and memory of the training that is being prepared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_ui.formatting import file_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer_core.prepare.forecast import Forecast

TONES = {"yes": "fits", "maybe": "tight", "no": "over"}
MIB, GIB = 1024**2, 1024**3
LARGE_BYTES = 1e9
"""From this size on the bar also says what all checkpoints of a run take together."""


def figures(values: Mapping[str, Any], seen: Forecast | None) -> list[tuple[str, str, str]]:
    """The figures as (label, value, smaller text), memory last; without those that are not known."""
    steps = values["schedule.steps"]
    length = f"{steps:,} steps" if isinstance(steps, int) else ""
    if seen is None:
        return [("Length", length, "")]
    from trainer_core.estimate import formatting

    found = seen.estimate
    epochs = "" if found.epochs is None else formatting.epochs(found.epochs)
    time = formatting.span(found.seconds) if found.seconds[1] > 0 and found.is_time_known else ""
    size = file_size(found.lora_mib) if found.lora_mib > 0 else ""
    return [
        ("Length", length, epochs),
        ("Time", time or "not known yet", "") if found.seconds[1] > 0 else ("Time", "", ""),
        ("File", size, _all_files(found.lora_mib, found.disk_gib)),
        _memory(seen),
    ]


def _all_files(file_mib: float, run_gib: float) -> str:
    """What all files of a run take, if a single one is so large that a disk can become full, and there are several."""
    one, all_of_them = file_mib * MIB, run_gib * GIB
    return f"{all_of_them / 1e9:,.1f} GB with all checkpoints" if one >= LARGE_BYTES and all_of_them > 1.5 * one else ""


def _memory(seen: Forecast) -> tuple[str, str, str]:
    need = _need(seen)
    if need <= 0:
        return "Memory", "", ""
    label = "GPU memory" if seen.estimate.vram_gib[1] > 0 else "Memory"
    return label, f"{need:.1f}", f"of {seen.fit.free_gib:.1f} GiB free"


def _need(seen: Forecast) -> float:
    """The memory that the training likely takes at most, in GiB: that of the GPU, or of the system without one."""
    return seen.estimate.vram_gib[1] or seen.estimate.ram_gib


def meter(seen: Forecast | None) -> tuple[float, float, str] | None:
    """How much of the memory is needed, where the free memory ends (both from 0 to 1), and whether it fits."""
    if seen is None or seen.fit.total_gib <= 0 or _need(seen) <= 0:
        return None
    total = seen.fit.total_gib
    return _need(seen) / total, seen.fit.free_gib / total, TONES[seen.fit.fits]
