"""The process that reads the GPUs, for the supervisor: one line of JSON every few seconds. Standard library only.

It is a process of its own because a call into a GPU driver may never return, and then cannot even be killed.
Source: NVIDIA/open-gpu-kernel-modules issue 1333, leptonai/gpud pull request 117.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from trainer_core.jobs.gauges.amd import Amd
from trainer_core.jobs.gauges.nvml import Nvml
from trainer_core.jobs.gauges.visible import Device, chosen

INTERVAL_S = 2.0
PROGRAM_INTERVAL_S = 5.0
"""How often the figures are read: by a library or from files, and by a program, which costs more."""
_PROGRAM_S = 30.0
_FIELDS = ("index", "name", "uuid", "memory.used", "memory.total", "utilization.gpu", "temperature.gpu", "power.draw")
_MIB = 1 << 20

Figures = list[dict[str, Any]]


def main() -> int:
    """Writes the figures until nobody reads them; returns 0, also if there is no GPU."""
    read, interval_s = source(os.environ)
    if read is None:
        return 0
    with contextlib.suppress(BrokenPipeError):
        while True:
            # Flushed, because the other end is a pipe.
            print(json.dumps(read()), flush=True)
            time.sleep(interval_s)
    # The pipe cannot be flushed again when Python ends.
    os._exit(0)


def source(environment: Mapping[str, str]) -> tuple[Callable[[], Figures] | None, float]:
    """The function that reads the GPUs, and how often it may be called; None if there is no GPU that the job may use."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    by_bus = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    with contextlib.suppress(OSError):
        nvidia = Nvml(visible, by_bus)
        return (nvidia.figures if nvidia.figures() else None), INTERVAL_S
    with contextlib.suppress(OSError):
        amd = Amd(environment)
        return (amd.figures if amd.figures() else None), INTERVAL_S
    program = shutil.which("nvidia-smi")
    if program and ask_program(program, visible, by_bus):
        return (lambda: ask_program(program, visible, by_bus)), PROGRAM_INTERVAL_S
    return None, INTERVAL_S


def ask_program(program: str, visible: str | None, by_bus: bool) -> Figures:
    """The figures that `nvidia-smi` prints, for a machine that has the program and not the library."""
    command = [program, f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=_PROGRAM_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return read_program(answer.stdout.decode("utf-8", "replace"), visible, by_bus) if answer.returncode == 0 else []


def read_program(text: str, visible: str | None, by_bus: bool) -> Figures:
    """The figures in the CSV output of `nvidia-smi`; it writes "[N/A]" for one that is not known."""
    devices, figures = [], {}
    for row in csv.reader(text.splitlines(), skipinitialspace=True):
        cells = dict(zip(_FIELDS, (cell.strip() for cell in row), strict=False))
        if len(cells) != len(_FIELDS) or not cells["index"].isdigit():
            continue
        index = int(cells["index"])
        devices.append(Device(index, cells["name"], cells["uuid"]))
        numbers = {name: _number(cells[name]) for name in _FIELDS[3:]}
        known = {
            "memory_bytes": _times(numbers["memory.used"], _MIB),
            "total_bytes": _times(numbers["memory.total"], _MIB),
            "load_percent": numbers["utilization.gpu"],
            "temperature_c": numbers["temperature.gpu"],
            "power_w": numbers["power.draw"],
        }
        figures[index] = {name: value for name, value in known.items() if value is not None}
    used = chosen(devices, visible, by_bus)
    return [{"index": device.index, "name": device.name, **figures[device.index]} for device in used]


def _times(number: float | None, unit: int) -> int | None:
    return None if number is None else int(number * unit)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


if __name__ == "__main__":
    sys.exit(main())
