"""Which GPUs a job may use, by the environment variables that its programs obey. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

AMD_VARIABLES = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
"""The first chooses among the GPUs of the machine, the second among those that the first has left."""


@dataclass(frozen=True)
class Device:
    """A GPU, or a part of one: `parent` is then the handle of the whole. `index` is the driver's number for it."""

    index: int
    name: str
    uuid: str
    handle: Any = None
    parent: Any = None


AnyDevice = TypeVar("AnyDevice", bound=Device)


def chosen(devices: Sequence[AnyDevice], visible: str | None, by_bus: bool = True) -> list[AnyDevice]:
    """The devices that a list like "0,2" or "GPU-8932f937,MIG-..." means; all if it is None.

    A list ends at its first entry that means no device. A number in it counts the devices by the bus if `by_bus`; CUDA else
    counts the fastest first. That order is only known if all are alike: if not, the whole list is used.

    Source: CUDA C++ Programming Guide, "CUDA environment variables": CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER.
    """
    if visible is None:
        return list(devices)
    found: list[AnyDevice] = []
    for entry in (each.strip() for each in visible.split(",")):
        if entry.isascii() and entry.isdigit():
            if not by_bus and len({device.name for device in devices}) > 1:
                return list(devices)
            means = [devices[int(entry)]] if int(entry) < len(devices) else []
        else:
            # CUDA accepts the beginning of a name if only one device has it.
            means = [device for device in devices if entry and device.uuid.lower().startswith(entry.lower())]
        if len(means) != 1:
            break
        found += [device for device in means if device not in found]
    return found


def chosen_amd(devices: Sequence[AnyDevice], environment: Mapping[str, str]) -> list[AnyDevice]:
    """The AMD devices that the variables leave. HIP also obeys CUDA_VISIBLE_DEVICES if its own variable is not set.

    Source: ROCm documentation, "GPU isolation techniques".
    """
    left = chosen(devices, environment.get(AMD_VARIABLES[0]))
    return chosen(left, environment.get(AMD_VARIABLES[1], environment.get("CUDA_VISIBLE_DEVICES")))
