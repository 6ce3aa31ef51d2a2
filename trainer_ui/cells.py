"""The figures of a run beside its chart: what it uses and how fast it is. What is not known is left out, not shown empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_core.jobs.timeline import SAMPLING

if TYPE_CHECKING:
    from trainer_core.events import Gpu
    from trainer_core.jobs.summary import Summary

Cell = dict[str, Any]
"""`id`, `label`, `value`, `unit`; where known `note`, `spark` (a series), `meter` (shares of the whole, from 0 to 1), and `is_old`
for a figure that is not measured at the moment."""
GIB = 1 << 30
SPARK = 60
"""How many values a small curve has."""


def cells(seen: Summary, images_per_step: int, *, is_over: bool) -> list[Cell]:
    """The figures of a run; of one that has ended its speed and what it used at most."""
    speed = _speed(seen, images_per_step)
    if speed is not None and seen.phase == SAMPLING and not is_over:
        # No step ends meanwhile: the figure is that of the steps before, and the curve stands still.
        speed |= {"note": "before the samples, which are made now", "is_old": True}
    found = [speed, *(_peaks(seen) if is_over else _now(seen))]
    return [cell for cell in found if cell is not None]


def _speed(seen: Summary, images_per_step: int) -> Cell | None:
    pace = seen.seconds_per_step
    if not pace or pace <= 0:
        return None
    value, unit = (f"{pace:.2f}", "s/step") if pace >= 1 else (f"{1 / pace:.1f}", "steps/s")
    rate = images_per_step / pace
    note = f"{rate:.2f} images a second" if rate < 10 else f"{rate:.0f} images a second"
    cell = {"id": "speed", "label": "Speed", "value": value, "unit": unit, "spark": _thin(seen.paces.kept)}
    return {**cell, "note": note} if images_per_step else cell


def _now(seen: Summary) -> list[Cell | None]:
    gauges = seen.gauges
    if gauges is None:
        return []
    several = len(gauges.gpus) > 1
    found: list[Cell | None] = []
    for gpu in gauges.gpus:
        called = f"GPU {gpu.index}" if several else "GPU"
        found += [_gpu_memory(seen, gpu, called), _gpu_load(seen, gpu, called)]
    return [*found, _memory(seen), _disk(seen)]


def _gpu_memory(seen: Summary, gpu: Gpu, called: str) -> Cell | None:
    used, whole, own = gpu.memory_bytes, gpu.total_bytes, gpu.own_bytes
    if used is None:
        return None
    cell: Cell = {"id": f"vram{gpu.index}", "label": f"{called} memory", **_of(used, whole)}
    peak = max(seen.gauge_history.gpu("memory_bytes", gpu.index), default=0.0)
    notes = [f"peak {_size(peak)}" if peak else ""]
    if own is not None and used > own:
        notes.append(f"others {_size(used - own)}")
    if whole:
        cell["meter"] = [own / whole, (used - own) / whole] if own is not None else [used / whole]
    return {**cell, "note": "; ".join(filter(None, notes))}


def _gpu_load(seen: Summary, gpu: Gpu, called: str) -> Cell | None:
    warm = [
        f"{gpu.temperature_c:.0f} °C" if gpu.temperature_c is not None else "",
        f"{gpu.power_w:.0f} W" if gpu.power_w is not None else "",
    ]
    note = ", ".join(filter(None, warm))
    if gpu.load_percent is None:
        return {"id": f"heat{gpu.index}", "label": called, "value": note, "unit": ""} if note else None
    load = _thin(seen.gauge_history.gpu("load_percent", gpu.index))
    cell = {"id": f"load{gpu.index}", "label": f"{called} load", "value": f"{gpu.load_percent:.0f}", "unit": "%"}
    return {**cell, "spark": load, "note": note, "range": [0, 100]}


def _memory(seen: Summary) -> Cell | None:
    gauges = seen.gauges
    if gauges is None or not gauges.memory_bytes:
        return None
    whole, free = gauges.memory_total_bytes, gauges.memory_free_bytes
    cell: Cell = {"id": "ram", "label": "Memory", **_of(gauges.memory_bytes, whole)}
    notes = [f"peak {_size(seen.gauge_history.peaks.memory_bytes)}"]
    if whole and free is not None:
        others = max(0, whole - free - gauges.memory_bytes)
        cell["meter"] = [gauges.memory_bytes / whole, others / whole]
        notes.append(f"{_size(free)} free")
    if gauges.swap_bytes:
        notes.append(f"swap {_size(gauges.swap_bytes)}")
    return {**cell, "note": "; ".join(notes)}


def _disk(seen: Summary) -> Cell | None:
    free = seen.gauges.disk_free_bytes if seen.gauges is not None else None
    return None if free is None else {"id": "disk", "label": "Disk", "value": _gib(free), "unit": "GiB free"}


def _peaks(seen: Summary) -> list[Cell | None]:
    """What a run used at most: what is in use now means nothing after its end."""
    peaks = seen.gauge_history.peaks
    vram, ram = peaks.gpu_bytes, peaks.memory_bytes
    return [
        {"id": "vram", "label": "GPU memory, peak", "value": _gib(vram), "unit": "GiB"} if vram else None,
        {"id": "ram", "label": "Memory, peak", "value": _gib(ram), "unit": "GiB"} if ram else None,
    ]


def _of(part: float, whole: float | None) -> dict[str, str]:
    if part < GIB / 10:
        return {"value": f"{part / 2**20:.0f}", "unit": "MiB"}
    return {"value": _gib(part), "unit": f"of {whole / GIB:.0f} GiB" if whole else "GiB"}


def _size(count: float) -> str:
    return f"{count / 2**20:.0f} MiB" if count < GIB / 10 else f"{_gib(count)} GiB"


def _gib(count: float) -> str:
    gib = count / GIB
    return f"{gib:.0f}" if gib >= 100 else f"{gib:.1f}" if gib >= 0.1 else f"{gib:.2f}"


def _thin(values: list[float]) -> list[float]:
    every = -(-len(values) // SPARK) or 1
    return [float(f"{value:.4g}") for value in values[::every]]
