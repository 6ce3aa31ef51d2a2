"""The hardware of this machine, found without torch. Standard library only.

The result is plain data: rules that use it (`torch_choice`, a backend's `problems`) stay pure and can be tested with the
recorded data of another machine.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

from trainer_core import places
from trainer_core.errors import InstallError
from trainer_core.probe import HERE, Probe

Kind = Literal["cuda", "rocm", "xpu", "mps", "cpu"]
KINDS: tuple[str, ...] = get_args(Kind)
UNTRIED: Mapping[str, str] = {"rocm": "AMD", "xpu": "Intel", "mps": "Apple"}
"""The makers of the GPUs on which Easel was not run yet, by kind: what it says of them is from documents and sources."""

_MIB = 1024**2


@dataclass(frozen=True)
class Accelerator:
    """One device that can train. `architecture` is a compute capability ("8.6") or an AMD name ("gfx1100").

    `present` is False for a device that the user named and that is not in this machine.
    """

    kind: Kind
    name: str
    vram_bytes: int = 0
    free_vram_bytes: int = 0
    architecture: str = ""
    driver: str = ""
    present: bool = True


@dataclass(frozen=True)
class Machine:
    """The state of a machine at one time. Sizes are in bytes; RAM is what this process may use within container limits."""

    accelerators: tuple[Accelerator, ...]
    ram_bytes: int
    free_ram_bytes: int
    disk_bytes: int
    cpus: int
    system: str

    @property
    def accelerator(self) -> Accelerator:
        """The first device; the CPU when there is no other."""
        return self.accelerators[0]

    @property
    def free_vram_bytes(self) -> int:
        """The free VRAM of the first device; 0 when it has none of its own."""
        return self.accelerator.free_vram_bytes

    def to_dict(self) -> dict[str, Any]:
        """The machine as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Machine:
        """The machine that `to_dict` recorded; what else an older Easel wrote down is left out."""
        devices = tuple(Accelerator(**device) for device in record["accelerators"])
        known = {each.name: record[each.name] for each in fields(cls)}
        return cls(**{**known, "accelerators": devices})


ASSUMED = Machine(
    (Accelerator("cuda", "a GPU that is not known yet", 80 << 30, 80 << 30, "9.0"),),
    ram_bytes=128 << 30,
    free_ram_bytes=128 << 30,
    disk_bytes=1 << 40,
    cpus=16,
    system="Linux x86_64",
)
"""A large machine, for the checks of a plan as long as nothing is known of the one that trains."""


def machine(folder: Path) -> Machine:
    """This machine now; `disk_bytes` is the free space on the disk where `folder` is or will be."""
    ram, free = memory_bytes()
    return Machine(
        accelerators=accelerators(),
        ram_bytes=ram,
        free_ram_bytes=free,
        disk_bytes=free_disk_bytes(folder),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        system=system_name(),
    )


def accelerators(probe: Probe = HERE) -> tuple[Accelerator, ...]:
    """The devices of this machine, discrete ones first, the CPU always last."""
    found = [*nvidia(probe), *amd(probe), *intel(probe), *apple(probe)]
    return (*found, Accelerator("cpu", probe.fact("cpu", lambda: platform.processor() or platform.machine()) or "CPU"))


def chosen(kind: str = "auto") -> Accelerator:
    """The device to install for: the best one for "auto", else the first of `kind`.

    A kind that this machine does not have gives a device with `present` False: the user may be preparing a container
    image for another machine.
    """
    found = accelerators()
    if kind == "auto":
        return found[0]
    if kind not in KINDS:
        raise InstallError(f"There is no accelerator called {kind}.", f"Choose auto or one of: {', '.join(KINDS)}.")
    absent = Accelerator(cast("Kind", kind), f"a {kind} device that is not in this machine", present=False)
    return next((device for device in found if device.kind == kind), absent)


def nvidia(probe: Probe = HERE) -> tuple[Accelerator, ...]:
    """The NVIDIA GPUs that `nvidia-smi` lists; none when it fails, as with a broken driver."""
    program = nvidia_smi(probe)
    if not program:
        # Some containers have the driver and the device, but not the program.
        driver = nvidia_driver(probe) if probe.exists("dev/nvidia0") else ""
        return (Accelerator("cuda", "NVIDIA GPU", driver=driver),) if driver else ()
    return read_nvidia_smi(_asked(probe, "name,memory.total,memory.free,compute_cap,driver_version"))


def nvidia_index(unique: str) -> str:
    """The number of the NVIDIA GPU with this unique id ("GPU-..."), which may be shortened; "" if there is none."""
    known = nvidia_ids() if unique.startswith("GPU-") else {}
    fitting = [index for index, name in known.items() if name.startswith(unique)]
    return fitting[0] if len(fitting) == 1 else ""


def nvidia_ids(probe: Probe = HERE) -> dict[str, str]:
    """The unique id of each NVIDIA GPU ("GPU-...") by its number; none when `nvidia-smi` fails."""
    rows = [row.partition(",") for row in _asked(probe, "index,uuid").splitlines()]
    return {index.strip(): unique.strip() for index, _, unique in rows if unique.strip()}


def nvidia_smi(probe: Probe = HERE) -> str:
    """The program that lists the NVIDIA GPUs; "" if there is none."""
    return probe.program("nvidia-smi", "usr/lib/wsl/lib")


def _asked(probe: Probe, query: str) -> str:
    """The CSV answer of `nvidia-smi`; "" if it fails."""
    return probe.ask(nvidia_smi(probe), f"--query-gpu={query}", "--format=csv,noheader,nounits")


def read_nvidia_smi(text: str) -> tuple[Accelerator, ...]:
    """The devices in the CSV output of `nvidia-smi`. Its memory is in MiB, or "[N/A]" for GPUs that share system RAM."""
    found = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.rsplit(",", 4)]
        if len(fields) != 5:
            continue
        name, total, free, capability, driver = fields
        found.append(
            Accelerator(
                "cuda",
                name,
                _mib(total),
                _mib(free),
                capability if re.fullmatch(r"\d+\.\d+", capability) else "",
                driver,
            )
        )
    return tuple(found)


def nvidia_driver(probe: Probe = HERE) -> str:
    """The version of the loaded NVIDIA kernel driver; "" when none is loaded (in WSL2 the driver is in Windows)."""
    found = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", probe.text("proc/driver/nvidia/version"))
    return found[1] if found else ""


NODES, CARDS = "sys/class/kfd/kfd/topology/nodes", "sys/class/drm"


def amd(probe: Probe = HERE) -> tuple[Accelerator, ...]:
    """The AMD GPUs that the kernel's compute driver lists, in the order in which ROCm counts them.

    Source: amdkfd's topology: `gfx_target_version` is 0 for a CPU node, else major * 10000 + minor * 100 + step (the last two in hex).
    `drm_render_minor` names the device in the kernel's graphics driver, which tells its memory and sometimes its name.
    """
    found = []
    for node in probe.names(NODES):
        properties = _properties(probe.text(f"{NODES}/{node}/properties"))
        if version := properties.get("gfx_target_version"):
            folder = f"{CARDS}/renderD{properties.get('drm_render_minor', 0)}/device"
            total, used = probe.number(f"{folder}/mem_info_vram_total"), probe.number(f"{folder}/mem_info_vram_used")
            found.append(amd_gpu(version, total, used, probe.text(f"{folder}/product_name")))
    return tuple(found)


def amd_gpu(version: int, total: int, used: int, title: str = "") -> Accelerator:
    """The AMD GPU with this `gfx_target_version` and these bytes of memory."""
    name = f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
    return Accelerator("rocm", title or f"AMD {name}", total, max(total - used, 0), name)


def amd_ids(probe: Probe = HERE) -> list[int]:
    """The unique id of each AMD GPU that the compute driver lists; 0 for one that has none."""
    nodes = [_properties(probe.text(f"{NODES}/{node}/properties")) for node in probe.names(NODES)]
    return [node.get("unique_id", 0) for node in nodes if node.get("gfx_target_version")]


def _properties(text: str) -> dict[str, int]:
    """The numbers in a list of names and numbers."""
    pairs = (line.split(None, 1) for line in text.splitlines() if " " in line)
    return {name: int(value) for name, value in pairs if value.isascii() and value.strip().isdigit()}


def intel(probe: Probe = HERE) -> tuple[Accelerator, ...]:
    """The Intel discrete GPUs that use the `xe` kernel driver.

    GPUs with the `i915` driver are left out: nearly every laptop has one for its display. A user with a broken NVIDIA
    driver would get the wrong torch.
    """
    folder = "sys/bus/pci/drivers/xe"
    for device in probe.names(folder):
        tile = f"{folder}/{device}/tile0"
        if re.fullmatch(r"[\da-f]{4}:[\da-f]{2}:[\da-f]{2}\.\d", device) and (
            probe.number(f"{tile}/vram_size_bytes") or probe.number(f"{tile}/physical_vram_size_bytes")
        ):
            return (Accelerator("xpu", f"Intel GPU at {device}"),)
    return ()


def apple(probe: Probe = HERE) -> tuple[Accelerator, ...]:
    """The GPU of an Apple-silicon Mac, which uses the system RAM."""
    if probe.fact("system", system_name) == "Darwin arm64":
        return (Accelerator("mps", "Apple silicon"),)
    return ()


def system_name() -> str:
    """The operating system and the kind of processor, such as "Linux x86_64"."""
    return f"{platform.system()} {platform.machine()}"


def memory_bytes(probe: Probe = HERE) -> tuple[int, int]:
    """(total, free) RAM in bytes that this process may use: the machine's, or less where a container has a limit."""
    try:
        lines = (line.split(":", 1) for line in probe.text("proc/meminfo").splitlines() if ":" in line)
        table = {name: int(value.split()[0]) * 1024 for name, value in lines if value.split()[0].isdigit()}
        total, free = table["MemTotal"], table["MemAvailable"]
    except (KeyError, IndexError):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return total, total
    most, used = memory_limit(probe)
    if 0 < most < total:
        total, free = most, min(free, most - used)
    return total, max(free, 0)


def memory_limit(probe: Probe = HERE) -> tuple[int, int]:
    """(limit, used) RAM in bytes of the container that this is; a limit of 0, or one near 2**63 (cgroup v1), is none."""
    for limit, used in (
        ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        if (most := probe.number(limit)) > 0:
            return most, probe.number(used)
    return 0, 0


def free_disk_bytes(folder: Path) -> int:
    """The free space in bytes on the file system where `folder` is or will be."""
    while not places.is_there(folder) and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _mib(text: str) -> int:
    return int(float(text)) * _MIB if re.fullmatch(r"[\d.]+", text) else 0
