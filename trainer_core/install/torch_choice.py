"""Which torch build an engine gets on a machine. A pure function; standard library only.

uv's `--torch-backend=auto` looks only at the driver: it gives a new card a build without kernels for it, and an old card a
build that no longer supports it. So an engine's `backend.toml` lists the builds that are known to work, best first, and the first
one that the device can run is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trainer_core.engines.manifest import TorchBuild
from trainer_core.errors import InstallError
from trainer_core.hardware import Accelerator

REGISTRY = "registry"


@dataclass(frozen=True)
class TorchChoice:
    """A torch build: `build` is "registry" (the hashed pins of the engine) or a name for uv's `--torch-backend`.

    `pins` are the versions to install from that index; empty for "registry". `reason` is a sentence for the user.
    """

    build: str
    reason: str
    pins: Mapping[str, str] = field(default_factory=dict)


class NoTorch(InstallError):  # noqa: N818 - the name is clear without Error
    """No known torch build for this engine runs on this device."""


def choices(rows: Sequence[TorchBuild], device: Accelerator, engine: str) -> tuple[TorchChoice, ...]:
    """The builds among an engine's `rows` that `device` can run, best first; if an index cannot be reached, the next is used.

    A row names its `build` and `kind`, and for CUDA and ROCm the lowest `driver` and the `architectures` it has kernels for.

    Raises:
        NoTorch: no row fits; the hint says what would help.
    """
    fitting = [row for row in rows if row.kind == device.kind and _runs(row, device)]
    if not fitting:
        raise _impossible(rows, device, engine)
    return tuple(TorchChoice(row.build, _reason(row, device), dict(row.pins)) for row in fitting)


def _runs(row: TorchBuild, device: Accelerator) -> bool:
    """Whether the row's minimum driver and architectures allow the device; unknown properties of a device count as allowed."""
    if device.driver and row.driver and _numbers(device.driver) < _numbers(row.driver):
        return False
    return not device.architecture or not row.architectures or _has_kernels(row.architectures, device)


def _has_kernels(architectures: Sequence[str], device: Accelerator) -> bool:
    """Whether a build for `architectures` has kernels for the device.

    Code for a compute capability runs on a later minor version of the same major version (8.6 on 8.9), on no other one.
    Source: NVIDIA, CUDA C++ Programming Guide, "Binary Compatibility". AMD's names must be equal.
    """
    if device.kind != "cuda":
        return device.architecture in architectures
    major, minor = _numbers(device.architecture)[:2]
    compiled = [_numbers(text) for text in architectures]
    return any(of_major == major and of_minor <= minor for of_major, of_minor in compiled)


def _impossible(rows: Sequence[TorchBuild], device: Accelerator, engine: str) -> NoTorch:
    """The error with the obstacle: the kind of device, its driver, or its age."""
    of_kind = [row for row in rows if row.kind == device.kind]
    if not of_kind:
        kinds = ", ".join(dict.fromkeys(row.kind for row in rows))
        return NoTorch(
            f"{engine} has no build of torch for {device.kind}.", f"It runs on: {kinds}. Choose one with --accelerator."
        )
    for_card = [
        row
        for row in of_kind
        if not device.architecture or not row.architectures or _has_kernels(row.architectures, device)
    ]
    if for_card:
        floor = min((row.driver for row in for_card), key=_numbers)
        return NoTorch(
            f"{engine} cannot run on {_device_name(device)}: every build of torch that has kernels for it needs driver {floor} or newer.",
            f"Update the GPU driver to {floor} or newer (on a rented machine, choose a host that has it).",
        )
    return NoTorch(
        f"{engine} cannot run on {_device_name(device)}: no build of torch that it works with has kernels for this card.",
        "Use another engine or another GPU, or train very slowly with --accelerator cpu.",
    )


def _reason(row: TorchBuild, device: Accelerator) -> str:
    build = "the package registry's build" if row.build == REGISTRY else f"{row.pins['torch']} for {row.build}"
    because = f" ({row.because})" if row.because else ""
    return f"torch: {build}{because}, for {_device_name(device)}."


def _device_name(device: Accelerator) -> str:
    details = [text for text in (device.architecture, device.driver and f"driver {device.driver}") if text]
    name = "a machine without a GPU" if device.kind == "cpu" else device.name
    return f"{name} ({', '.join(details)})" if details else name


def _numbers(version: str) -> tuple[int, ...]:
    """A version as numbers that compare correctly, such as (525, 60, 13)."""
    return tuple(int(part) for part in re.findall(r"\d+", version))
