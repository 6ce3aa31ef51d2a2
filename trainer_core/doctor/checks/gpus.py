"""The GPUs: which are there, which cannot be used and why, what they can do, and which programs hold their memory."""

from __future__ import annotations

import os
from collections.abc import Iterator

from trainer_core import hardware
from trainer_core.doctor import tables
from trainer_core.doctor.case import Case
from trainer_core.doctor.checks.system import container, is_wsl
from trainer_core.doctor.finding import Finding
from trainer_core.doctor.trying import VISIBLE
from trainer_core.estimate.gpu_processes import find_gpu_processes
from trainer_core.hardware import Accelerator
from trainer_core.probe import Probe
from trainer_core.text import printable, size

UNTRIED = "experimental: not run on this hardware yet"
"""What is said of every kind of GPU on which no training of Easel was run."""
PCI = "sys/bus/pci/devices"
VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
GPU_CLASSES = ("0x03", "0x12")
"""Display controllers and processing accelerators. Source: PCI Code and ID Assignment Specification."""
BF16 = {
    "native": "bf16 in hardware",
    "emulated": "bf16 only emulated, which is slow",
    "unknown": "bf16 not known",
}
FP8 = {
    "hardware": "fp8 in hardware",
    "storage": "fp8 for storage only",
    "no": "no fp8",
    "unknown": "fp8 not known",
}
FLASH = {
    "yes": "flash-attention 2 runs on it",
    "no": "no flash-attention 2",
    "experimental": "flash-attention 2 only experimentally",
    "unknown": "flash-attention 2 not known",
}
EIGHT_BIT = {
    "yes": "8-bit optimizers of bitsandbytes have kernels for it",
    "no": "no 8-bit optimizers of bitsandbytes",
    "unknown": "8-bit optimizers of bitsandbytes not known",
}
_USED = 0.8
"""With less of the memory free than this, programs that use it are looked for."""


def cards(case: Case) -> Iterator[Finding]:
    """Each GPU that can be used; if there is none, why."""
    for number, device in enumerate(case.gpus):
        yield _card(number, device)
    if not case.gpus:
        yield _no_gpu(case.probe)
    if any(device.kind == "rocm" for device in case.gpus):
        yield from _compute_device(case.probe)


def _card(number: int, device: Accelerator) -> Finding:
    """What a GPU is and can do."""
    name, title = f"gpu.{number}", f"GPU {number}: {printable(device.name, 100)}"
    memory = f"{size(device.vram_bytes)} of memory" if device.vram_bytes else "the size of its memory is not known"
    driver = f"driver {device.driver}" if device.driver else ""
    if driver and (newest := tables.cuda_of(device.driver)):
        driver += f", which runs builds for CUDA {newest} and older"
    kind = {"cuda": "compute capability ", "rocm": "architecture "}.get(device.kind, "")
    row = tables.architecture(device)
    what = f"{kind}{device.architecture}" + (f" ({row.title})" if row else "") if device.architecture else ""
    found = "; ".join(part for part in (memory, what, driver) if part) + "."
    found = found[0].upper() + found[1:]
    label = "" if device.kind == "cuda" else f" Training on this kind of GPU is {UNTRIED}."
    if row is None:
        means = f"It is not known what this architecture can do.{label}"
        return Finding(name, title, "unknown", found, means, "What works is proved once an engine is installed.")
    can = ", ".join((BF16[row.bf16], FP8[row.fp8], FLASH[row.flash], EIGHT_BIT[row.eight_bit]))
    state = "good" if row.bf16 == "native" and device.kind == "cuda" else "notice"
    return Finding(name, title, state, found, f"By its architecture: {can}. {row.advice}{label}")


def _no_gpu(probe: Probe) -> Finding:
    """Why no GPU can be used."""
    vendors = _vendors(probe)
    loaded = hardware.nvidia_driver(probe)
    cpu = "Training runs on the CPU, which is only good for trials."
    if loaded and not probe.exists("dev/nvidia0"):
        found = f"The NVIDIA driver {loaded} is loaded on this machine, but no GPU can be reached."
        fix = (
            "Start the container with --gpus all."
            if container(probe)
            else "Restart the machine, or choose a runtime with a GPU."
        )
        return Finding("gpu", "GPU", "problem", found, cpu, fix)
    if "NVIDIA" in vendors or (is_wsl(probe) and hardware.nvidia_smi(probe)):
        tells = "nvidia-smi fails." if hardware.nvidia_smi(probe) else "there is no nvidia-smi."
        fix = (
            "Update the NVIDIA driver in Windows, then: wsl --shutdown"
            if is_wsl(probe)
            else "Install NVIDIA's driver for this system, and restart the machine."
        )
        return Finding("gpu", "GPU", "problem", f"There is an NVIDIA GPU, but {tells}", cpu, fix)
    if vendors:
        found = f"No GPU that can train was found. There is a GPU of {' and of '.join(vendors)}, without a driver for computing."
        means = f"It may be one for the display only. {cpu}"
        fix = (
            "If it is a graphics card: install a kernel with amdgpu and its compute driver (/dev/kfd) for AMD, or with xe for Intel. "
            f"Training on these is {UNTRIED}."
        )
        return Finding("gpu", "GPU", "notice", found, means, fix)
    return Finding("gpu", "GPU", "notice", "No GPU was found.", cpu, "Train on another machine: docs/guide/remote.md.")


def _vendors(probe: Probe) -> list[str]:
    """The makers of the GPUs on the PCI bus."""
    gpus = [each for each in probe.names(PCI) if probe.text(f"{PCI}/{each}/class").startswith(GPU_CLASSES)]
    found = {VENDORS.get(probe.text(f"{PCI}/{name}/vendor"), "") for name in gpus}
    return [vendor for vendor in VENDORS.values() if vendor in found]


def _compute_device(probe: Probe) -> Iterator[Finding]:
    """Whether this user may compute on the AMD GPUs."""
    if not probe.exists("dev/kfd"):
        found = "The kernel lists an AMD GPU, but there is no /dev/kfd."
        fix = "Start the container with --device /dev/kfd --device /dev/dri --group-add video --group-add render."
    elif not os.access(probe.path("dev/kfd"), os.R_OK | os.W_OK):
        found = "This user may not use /dev/kfd."
        fix = 'Run: sudo usermod -aG render,video "$USER" and log in again.'
    else:
        return
    yield Finding("gpu.kfd", "Access to AMD GPUs", "problem", found, "torch finds no GPU.", fix)


def hidden_cards(case: Case) -> Iterator[Finding]:
    """Variables that hide GPUs from the engines, or that replace their architecture."""
    for name in VISIBLE:
        if (value := case.probe.environment.get(name)) is not None:
            found = f"{name} is set to {printable(value, 100) or 'nothing'}."
            means = (
                "torch takes AMD GPUs for those of another architecture."
                if name.startswith("HSA")
                else "Engines see only these GPUs."
            )
            yield Finding(
                f"variable.{name}", "Variable for GPUs", "notice", found, means, f"If that is not meant: unset {name}"
            )


def memory_in_use(case: Case) -> Iterator[Finding]:
    """The memory of GPUs that other programs hold."""
    used = [each for each in case.gpus if each.vram_bytes and each.free_vram_bytes < _USED * each.vram_bytes]
    if not used:
        free = ", ".join(size(each.free_vram_bytes) for each in case.gpus if each.vram_bytes)
        if free:
            yield Finding("gpu.memory", "GPU memory", "good", f"Free: {free}.")
        return
    holders = find_gpu_processes(case.probe)
    names = ", ".join(
        f"{each.name} (process {each.pid}{', ' + size(each.bytes) if each.bytes else ''})" for each in holders[:8]
    )
    sizes = ", ".join(f"{size(each.free_vram_bytes)} of {size(each.vram_bytes)} on {each.name}" for each in used)
    found = f"Free: {printable(sizes, 500)}. " + (
        f"It is used by: {names}." if names else "The driver does not say by which programs."
    )
    yield Finding(
        "gpu.memory",
        "GPU memory",
        "notice",
        found,
        "A run may end because it lacks memory.",
        "Close these programs before a run." if names else "Look for other programs, also outside of this container.",
    )
