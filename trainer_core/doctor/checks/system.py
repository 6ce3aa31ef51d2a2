"""The system, the processor and the RAM."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator

from trainer_core import hardware
from trainer_core.doctor.case import Case, cpu_model
from trainer_core.doctor.finding import Finding
from trainer_core.probe import Probe
from trainer_core.text import amount, printable, size

GLIBC = (2, 28)
"""The oldest C library for which PyTorch's wheels are built (manylinux_2_28). Source: PyTorch 2.6 release notes."""
SYSTEMS = ("Linux x86_64", "Linux aarch64", "Darwin arm64")
"""The systems for which the engines' packages exist."""
SMALL_BYTES = 8 << 30
"""Less free RAM than this is noticed: the file of an SDXL checkpoint has 6.9 GB, and is read into RAM before it is on a GPU."""


def is_wsl(probe: Probe) -> bool:
    """Whether this is Linux inside of Windows. Source: Microsoft's kernel names itself so."""
    return "microsoft" in probe.text("proc/sys/kernel/osrelease").lower()


def container(probe: Probe) -> str:
    """The kind of container that this is; "" if none was recognised."""
    if probe.exists("run/.containerenv"):
        return "Podman"
    return "Docker" if probe.exists(".dockerenv") else ""


def system(case: Case) -> Iterator[Finding]:
    """The operating system, Python and the C library."""
    probe = case.probe
    kind = probe.fact("system", hardware.system_name)
    release = re.search(r'^PRETTY_NAME="?([^"\n]*)', probe.text("etc/os-release"), re.MULTILINE)
    glibc = probe.fact("glibc", lambda: platform.libc_ver()[1])
    parts = [
        printable(release[1], 100) if release else "",
        kind,
        "WSL2" if is_wsl(probe) else "",
        f"in a container ({name})" if (name := container(probe)) else "",
        f"Python {probe.fact('python', platform.python_version)}",
        f"glibc {glibc}" if glibc else "",
    ]
    found = ", ".join(part for part in parts if part) + "."
    if kind not in SYSTEMS:
        yield Finding("system", "System", "problem", found, f"The engines have packages for: {', '.join(SYSTEMS)}.")
    elif kind.startswith("Linux") and not glibc:
        fix = "Use a distribution with glibc, such as Debian or Ubuntu."
        yield Finding("system", "System", "problem", f"{found} It has no glibc.", "PyTorch's builds need it.", fix)
    elif glibc and tuple(map(int, glibc.split(".")[:2])) < GLIBC:
        means = f"PyTorch's builds need glibc {GLIBC[0]}.{GLIBC[1]} or newer."
        yield Finding("system", "System", "problem", found, means, "Use a newer release of this system.")
    else:
        yield Finding("system", "System", "good", found)


def processor(case: Case) -> Iterator[Finding]:
    """The processor and how many cores this process may use."""
    cores = case.probe.fact("cpus", _cores)
    found = f"{printable(cpu_model(case.probe), 100)}, {amount(cores, 'core')}."
    if cores > 1:
        yield Finding("processor", "Processor", "good", found)
    else:
        means = "Images are read and prepared while the GPU waits."
        yield Finding("processor", "Processor", "notice", found, means, "Give the machine or the container more cores.")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory(case: Case) -> Iterator[Finding]:
    """The RAM, within the limit of a container."""
    total, free = hardware.memory_bytes(case.probe)
    limit, _ = hardware.memory_limit(case.probe)
    found = f"{size(free)} of {size(total)} are free"
    found += ", the limit of this container." if limit == total else "."
    if free >= SMALL_BYTES:
        yield Finding("memory", "RAM", "good", found)
    else:
        means = (
            "A base model is read into RAM before it is on the GPU: that of SDXL has 6.9 GB. A run may be killed there."
        )
        fix = "Close other programs, or give the machine or the container more RAM."
        yield Finding("memory", "RAM", "notice", found, means, fix)
