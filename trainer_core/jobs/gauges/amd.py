"""The figures of AMD GPUs, from files of the kernel's driver. Standard library only.

Source: Linux, Documentation/gpu/amdgpu (driver-misc.rst: mem_info_vram_*, unique_id; thermal.rst: gpu_busy_percent, hwmon), and
drivers/gpu/drm/amd/amdkfd/kfd_topology.c (properties: drm_render_minor, unique_id) and kfd_process.c (proc/<pid>/vram_<gpu_id>).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core.jobs.gauges.visible import Device, chosen_amd


@dataclass(frozen=True)
class Card(Device):
    """An AMD GPU: its folder in the kernel's files, and its number in the list of each process's memory."""

    folder: Path = Path()
    compute_id: str = ""


class Amd:
    """The AMD GPUs that a job may use; `figures` reads them all. `root` is the kernel's folder, another one in tests.

    Raises:
        OSError: there is none that can compute.
    """

    def __init__(self, environment: Mapping[str, str], root: Path = Path("/sys")) -> None:
        self._compute = root / "class/kfd/kfd"
        cards = list(self._cards(root / "class/drm"))
        if not cards:
            raise OSError("There is no AMD GPU.")
        self._used = chosen_amd(cards, environment)

    def figures(self) -> list[dict[str, Any]]:
        """The figures of each GPU, as JSON data; one that the driver does not tell is missing."""
        return [self._figures(card) for card in self._used]

    def _cards(self, graphics: Path) -> Iterator[Card]:
        """The GPUs in the order in which ROCm counts them: that of the compute driver's nodes, without processors."""
        nodes = (self._compute / "topology/nodes").glob("[0-9]*")
        index = 0
        for node in sorted(nodes, key=lambda path: (len(path.name), path.name)):
            properties = _properties(node / "properties")
            # A processor is a node, too; a GPU that this container must not use cannot be read.
            if not properties.get("gfx_target_version"):
                continue
            folder = graphics / f"renderD{properties.get('drm_render_minor', 0)}" / "device"
            name = _text(folder / "product_name") or "AMD GPU"
            uuid = f"GPU-{properties.get('unique_id', 0):016x}"
            yield Card(index, name, uuid, folder=folder, compute_id=_text(node / "gpu_id"))
            index += 1

    def _figures(self, card: Card) -> dict[str, Any]:
        folder, sensors = card.folder, next(iter(sorted(card.folder.glob("hwmon/hwmon*"))), card.folder)
        # 1 is the edge of the chip; some have only the hottest point (2). Older kernels call the power an average.
        heat = _first(sensors / "temp1_input", sensors / "temp2_input")
        power = _first(sensors / "power1_average", sensors / "power1_input")
        known = {
            "memory_bytes": _number(folder / "mem_info_vram_used"),
            "total_bytes": _number(folder / "mem_info_vram_total"),
            "load_percent": _number(folder / "gpu_busy_percent"),
            "temperature_c": None if heat is None else heat / 1000,
            "power_w": None if power is None else power / 1e6,
            "processes": self._processes(card),
        }
        found = {name: value for name, value in known.items() if value is not None}
        return {"index": card.index, "name": card.name, **found}

    def _processes(self, card: Card) -> list[tuple[int, int]] | None:
        """Process id and bytes of each compute program on the GPU; None if the kernel does not tell."""
        try:
            folders = list((self._compute / "proc").iterdir())
        except OSError:
            return None
        sizes = ((folder.name, _number(folder / f"vram_{card.compute_id}")) for folder in folders)
        return [(int(name), size) for name, size in sizes if size is not None and name.isdigit()]


def _properties(file: Path) -> dict[str, int]:
    """The numbers in a list of names and numbers; empty if it cannot be read."""
    found = {}
    for line in _text(file).splitlines():
        name, _, value = line.partition(" ")
        with contextlib.suppress(ValueError):
            found[name] = int(value)
    return found


def _first(*files: Path) -> int | None:
    return next((number for file in files if (number := _number(file)) is not None), None)


def _number(file: Path) -> int | None:
    try:
        return int(_text(file))
    except ValueError:
        return None


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
