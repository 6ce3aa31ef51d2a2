"""The hardware of this machine, found without torch. Standard library only.

The result is plain data: rules that use it (`torch_choice`, a backend's `problems`) stay pure and can be tested with the
recorded data of another machine.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

from trainer_core.errors import InstallError

Kind = Literal["cuda", "rocm", "xpu", "mps", "cpu"]
KINDS: tuple[str, ...] = get_args(Kind)
UNTRIED: Mapping[str, str] = {"rocm": "AMD", "xpu": "Intel", "mps": "Apple"}
"""The makers of the GPUs on which Easel was not run yet, by kind: what it says of them is from documents and sources."""

_MIB = 1024**2
_NVIDIA_SMI_S = 10


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
        system=f"{platform.system()} {platform.machine()}",
    )


def accelerators() -> tuple[Accelerator, ...]:
    """The devices of this machine, discrete ones first, the CPU always last."""
    found = [*nvidia(), *amd(), *intel(), *apple()]
    return (*found, Accelerator("cpu", platform.processor() or platform.machine() or "CPU"))


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


def nvidia() -> tuple[Accelerator, ...]:
    """The NVIDIA GPUs that `nvidia-smi` lists; none when it fails, as with a broken driver."""
    program = _nvidia_smi()
    if program is None:
        # Some containers have the driver and the device, but not the program.
        driver = nvidia_driver() if Path("/dev/nvidia0").exists() else ""
        return (Accelerator("cuda", "NVIDIA GPU", driver=driver),) if driver else ()
    return read_nvidia_smi(_asked(program, "name,memory.total,memory.free,compute_cap,driver_version"))


def nvidia_index(unique: str) -> str:
    """The number of the NVIDIA GPU with this unique id ("GPU-..."), which may be shortened; "" if there is none."""
    program = _nvidia_smi() if unique.startswith("GPU-") else None
    rows = _asked(program, "index,uuid").splitlines() if program else ()
    found = [row.partition(",") for row in rows]
    fitting = [index.strip() for index, _, known in found if known.strip().startswith(unique)]
    return fitting[0] if len(fitting) == 1 else ""


def _nvidia_smi() -> str | None:
    """The program that lists the NVIDIA GPUs; None if there is none."""
    return shutil.which("nvidia-smi") or next(
        (path for path in ("/usr/lib/wsl/lib/nvidia-smi",) if Path(path).exists()), None
    )


def _asked(program: str, query: str) -> str:
    """The CSV answer of `nvidia-smi`; "" if it fails."""
    command = [program, f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_NVIDIA_SMI_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout if answer.returncode == 0 else ""


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


def nvidia_driver() -> str:
    """The version of the loaded NVIDIA kernel driver; "" when none is loaded (in WSL2 the driver is in Windows)."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return ""
    found = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", text)
    return found[1] if found else ""


def amd(
    nodes: Path = Path("/sys/class/kfd/kfd/topology/nodes"), cards: Path = Path("/sys/class/drm")
) -> tuple[Accelerator, ...]:
    """The AMD GPUs that the kernel's compute driver lists.

    Source: amdkfd's topology: `gfx_target_version` is 0 for a CPU node, else major * 10000 + minor * 100 + step (the last two in hex).
    """
    found = []
    memory = [
        (_number(card / "device/mem_info_vram_total"), _number(card / "device/mem_info_vram_used"))
        for card in _cards(cards)
    ]
    for node in sorted(nodes.glob("*/properties"), key=lambda path: (len(path.parent.name), path.parent.name)):
        try:
            version = int(
                dict(line.split(None, 1) for line in node.read_text().splitlines() if " " in line)["gfx_target_version"]
            )
        except (OSError, KeyError, ValueError):
            continue
        if version:
            name = f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
            total, used = memory[len(found)] if len(found) < len(memory) else (0, 0)
            found.append(Accelerator("rocm", f"AMD {name}", total, max(total - used, 0), name))
    return tuple(found)


def intel(drivers: Path = Path("/sys/bus/pci/drivers/xe")) -> tuple[Accelerator, ...]:
    """The Intel discrete GPUs that use the `xe` kernel driver.

    GPUs with the `i915` driver are left out: nearly every laptop has one for its display. A user with a broken NVIDIA
    driver would get the wrong torch.
    """
    for device in sorted(drivers.glob("????:??:??.?")):
        if _number(device / "tile0/vram_size_bytes") or _number(device / "tile0/physical_vram_size_bytes"):
            return (Accelerator("xpu", f"Intel GPU at {device.name}"),)
    return ()


def apple() -> tuple[Accelerator, ...]:
    """The GPU of an Apple-silicon Mac, which uses the system RAM."""
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return (Accelerator("mps", "Apple silicon"),)
    return ()


def memory_bytes(root: Path = Path("/")) -> tuple[int, int]:
    """(total, free) RAM in bytes that this process may use: the machine's, or less where a container has a limit."""
    try:
        lines = (line.split(":", 1) for line in (root / "proc/meminfo").read_text().splitlines() if ":" in line)
        table = {name: int(value.split()[0]) * 1024 for name, value in lines if value.split()[0].isdigit()}
        total, free = table["MemTotal"], table["MemAvailable"]
    except (OSError, KeyError, ValueError, IndexError):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return total, total
    for limit, used in (
        ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        # "max", or a number near 2**63 in cgroup v1, means no limit.
        if 0 < (most := _number(root / limit)) < total:
            total, free = most, min(free, most - _number(root / used))
    return total, max(free, 0)


def free_disk_bytes(folder: Path) -> int:
    """The free space in bytes on the file system where `folder` is or will be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _cards(root: Path) -> list[Path]:
    return [card for card in sorted(root.glob("card*")) if (card / "device/mem_info_vram_total").exists()]


def _number(path: Path) -> int:
    try:
        return int(path.read_text().strip(), 0)
    except (OSError, ValueError):
        return 0


def _mib(text: str) -> int:
    return int(float(text)) * _MIB if re.fullmatch(r"[\d.]+", text) else 0
