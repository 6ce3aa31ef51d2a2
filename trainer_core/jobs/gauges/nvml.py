"""The figures of NVIDIA GPUs from the driver's own library (NVML). Standard library only.

Source of names, structures and codes: NVML API Reference Guide, and NVIDIA's own binding nvidia-ml-py 13.615 (pynvml.py).
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

from trainer_core.jobs.gauges.visible import Device, chosen

LIBRARIES = (
    "libnvidia-ml.so.1",
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
    "/usr/lib64-nvidia/libnvidia-ml.so.1",
    "/run/opengl-driver/lib/libnvidia-ml.so.1",
)
"""The library on most machines, and where WSL 2, Colab and NixOS have it."""
_LONGEST_NAME = 96
_MOST_PROCESSES = 256
_NOT_AVAILABLE = 2**64 - 1
_SUCCESS, _INSUFFICIENT_SIZE, _GPU_IS_LOST = 0, 7, 15
_GPU_TEMPERATURE = 0


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Process(ctypes.Structure):
    _fields_ = (
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


class Nvml:
    """The GPUs that a job may use, through the library; `figures` reads them all.

    Raises:
        OSError: the library is missing, or finds no driver.
    """

    def __init__(self, visible: str | None, by_bus: bool) -> None:
        self._library = _load()
        if self._call("nvmlInit_v2") != _SUCCESS:
            raise OSError("The NVIDIA driver does not answer.")
        devices = [device for index in range(self._count()) for device in self._devices(index)]
        self._devices_used = chosen(devices, visible, by_bus)
        if visible and not self._devices_used:
            self._devices_used = self._named(visible)

    def figures(self) -> list[dict[str, Any]]:
        """The figures of each GPU, as JSON data; one that the driver does not tell is missing."""
        return [self._figures(device) for device in self._devices_used]

    def _figures(self, device: Device) -> dict[str, Any]:
        handle = device.handle
        memory, load, number = _Memory(), _Utilization(), ctypes.c_uint()
        found: dict[str, Any] = {"index": device.index, "name": device.name}
        code = self._call("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
        if code == _SUCCESS and memory.total:
            found |= {"memory_bytes": memory.used, "total_bytes": memory.total}
        elif code == _GPU_IS_LOST:
            return {**found, "lost": True}
        if self._call("nvmlDeviceGetUtilizationRates", handle, ctypes.byref(load)) == _SUCCESS:
            found["load_percent"] = load.gpu
        # A part of a GPU has no sensors of its own.
        whole = device.parent or handle
        if self._call("nvmlDeviceGetTemperature", whole, _GPU_TEMPERATURE, ctypes.byref(number)) == _SUCCESS:
            found["temperature_c"] = number.value
        if self._call("nvmlDeviceGetPowerUsage", whole, ctypes.byref(number)) == _SUCCESS and not device.parent:
            found["power_w"] = number.value / 1000
        found["processes"] = self._processes(handle)
        return found

    def _processes(self, handle: ctypes.c_void_p) -> list[tuple[int, int]] | None:
        """Process id and bytes of each compute program on the GPU; None if the driver does not tell."""
        count, rows = ctypes.c_uint(_MOST_PROCESSES), (_Process * _MOST_PROCESSES)()
        for name in ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"):
            code = self._call(name, handle, ctypes.byref(count), rows)
            if code == _SUCCESS:
                found = rows[: min(count.value, _MOST_PROCESSES)]
                return [(row.pid, row.used) for row in found if row.used != _NOT_AVAILABLE]
            if code == _INSUFFICIENT_SIZE:
                return None
        return None

    def _count(self) -> int:
        count = ctypes.c_uint()
        return count.value if self._call("nvmlDeviceGetCount_v2", ctypes.byref(count)) == _SUCCESS else 0

    def _devices(self, index: int) -> Iterator[Device]:
        """The GPU with this number; its parts instead if it is divided (MIG), because programs use only those."""
        handle = ctypes.c_void_p()
        # A GPU of which this container has no right is counted, but cannot be opened.
        if self._call("nvmlDeviceGetHandleByIndex_v2", index, ctypes.byref(handle)) != _SUCCESS:
            return
        whole = Device(index, self._text("nvmlDeviceGetName", handle), self._text("nvmlDeviceGetUUID", handle), handle)
        yield from list(self._parts(whole)) or [whole]

    def _parts(self, whole: Device) -> Iterator[Device]:
        now, later, most = ctypes.c_uint(), ctypes.c_uint(), ctypes.c_uint()
        code = self._call("nvmlDeviceGetMigMode", whole.handle, ctypes.byref(now), ctypes.byref(later))
        if code != _SUCCESS or not now.value:
            return
        self._call("nvmlDeviceGetMaxMigDeviceCount", whole.handle, ctypes.byref(most))
        for number in range(most.value):
            part = ctypes.c_void_p()
            code = self._call("nvmlDeviceGetMigDeviceHandleByIndex", whole.handle, number, ctypes.byref(part))
            if code == _SUCCESS:
                yield self._part(whole, part)

    def _part(self, whole: Device, part: ctypes.c_void_p) -> Device:
        name = self._text("nvmlDeviceGetName", part) or whole.name
        return Device(whole.index, name, self._text("nvmlDeviceGetUUID", part), part, whole.handle)

    def _named(self, visible: str) -> list[Device]:
        """The GPUs or parts that a list of names means, asked by name: a container may list no parts."""
        found = []
        for name in visible.split(","):
            handle, parent = ctypes.c_void_p(), ctypes.c_void_p()
            code = self._call("nvmlDeviceGetHandleByUUID", name.strip().encode(), ctypes.byref(handle))
            if code != _SUCCESS:
                continue
            code = self._call("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle, ctypes.byref(parent))
            shown = self._text("nvmlDeviceGetName", handle)
            found.append(Device(len(found), shown, name.strip(), handle, parent if code == _SUCCESS else None))
        return found

    def _text(self, name: str, handle: ctypes.c_void_p) -> str:
        buffer = ctypes.create_string_buffer(_LONGEST_NAME)
        code = self._call(name, handle, buffer, _LONGEST_NAME)
        return buffer.value.decode("utf-8", "replace") if code == _SUCCESS else ""

    def _call(self, name: str, *arguments: Any) -> int:
        """The return code of a function; -1 if this version of the library has none of that name."""
        try:
            function = getattr(self._library, name)
        except AttributeError:
            return -1
        return function(*arguments)


def _load(names: Sequence[str] = LIBRARIES) -> ctypes.CDLL:
    for name in names:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(name)
    raise OSError("There is no NVIDIA library.")
