"""The figures of a job in words with units, for the notebook and the command line. What is not known is not shown."""

from __future__ import annotations

from trainer_core.events import Gauges, Gpu
from trainer_core.text import printable
from trainer_core.text import size as small

_GIB = 1 << 30


def rows(gauges: Gauges | None) -> list[tuple[str, str]]:
    """Pairs of what was measured and its value, such as ("GPU memory", "17.3 of 24.0 GiB")."""
    if gauges is None:
        return []
    several = len(gauges.gpus) > 1
    found = [row for gpu in gauges.gpus for row in _gpu_rows(gpu, f"GPU {gpu.index}" if several else "GPU")]
    return [(label, printable(text, 100)) for label, text in (*found, *_machine_rows(gauges)) if text]


def line(gauges: Gauges | None) -> str:
    """The figures of the GPUs, or of the RAM without a GPU, in a few words: "GPU 17.3 of 24.0 GiB, 98 %, 71 °C"."""
    if gauges is None:
        return ""
    several = len(gauges.gpus) > 1
    parts = []
    for gpu in gauges.gpus:
        texts = [text for _, text in _gpu_rows(gpu, "") if text]
        if texts:
            parts.append(f"GPU {gpu.index} {', '.join(texts[:3])}" if several else f"GPU {', '.join(texts[:3])}")
    if not parts and gauges.memory_bytes:
        parts.append(f"RAM {size(gauges.memory_bytes)}")
    return "; ".join(parts)


def size(count: int) -> str:
    """A number of bytes in GiB, or in a smaller unit if it is small."""
    gib = count / _GIB
    return (
        f"{gib:.0f} GiB"
        if gib >= 100
        else f"{gib:.1f} GiB"
        if gib >= 1
        else (f"{count / 2**20:.0f} MiB" if count >= 10 << 20 else small(count))
    )


def _gpu_rows(gpu: Gpu, called: str) -> list[tuple[str, str]]:
    return [
        (f"{called} memory", _of(gpu.memory_bytes, gpu.total_bytes)),
        (f"{called} load", "" if gpu.load_percent is None else f"{gpu.load_percent:.0f} %"),
        (f"{called} temperature", "" if gpu.temperature_c is None else f"{gpu.temperature_c:.0f} °C"),
        (f"{called} power", "" if gpu.power_w is None else f"{gpu.power_w:.0f} W"),
    ]


def _machine_rows(gauges: Gauges) -> list[tuple[str, str]]:
    cpu = gauges.cpu_percent
    return [
        ("RAM used", "" if not gauges.memory_bytes else size(gauges.memory_bytes)),
        ("RAM free", _of(gauges.memory_free_bytes, gauges.memory_total_bytes)),
        ("Swap used", "" if not gauges.swap_bytes else size(gauges.swap_bytes)),
        ("CPU load", "" if cpu is None else f"{cpu / 100:.1f} cores"),
        ("Disk free", "" if gauges.disk_free_bytes is None else size(gauges.disk_free_bytes)),
    ]


def _of(part: int | None, whole: int | None) -> str:
    if part is None:
        return ""
    if not whole:
        return size(part)
    if whole < _GIB:
        return f"{part / 2**20:.0f} of {whole / 2**20:.0f} MiB"
    return f"{part / _GIB:.1f} of {whole / _GIB:.1f} GiB"
