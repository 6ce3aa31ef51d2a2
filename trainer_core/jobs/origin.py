"""Where a job was started: on which machine, since which start of it, and in which folder.

A process id means something only on its own machine, and a copy of a job folder contains the ids of another job's processes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Whereabouts = Literal["here", "copy", "elsewhere"]
"""Where the processes of a job are: on this machine; with another folder, of which this one is a copy; on another machine."""
_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_NAMESPACE = "/proc/self/ns/pid"
"""Containers on one machine do not see each other's processes. Source: Linux, pid_namespaces(7)."""


@dataclass(frozen=True)
class Origin:
    """Where a job was started. A part that the system does not tell is "" or 0.

    `boot` changes when the machine starts again, `namespace` with the container.
    """

    path: str
    device: int = 0
    inode: int = 0
    host: str = ""
    machine: str = ""
    boot: str = ""
    namespace: str = ""

    @classmethod
    def of(cls, folder: Path) -> Origin:
        """The origin of a job that is started now in this folder."""
        device = inode = 0
        with contextlib.suppress(OSError):
            found = folder.stat()
            device, inode = found.st_dev, found.st_ino
        return cls(str(folder), device, inode, host_name(), _machine_id(), boot_id(), _namespace())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> Origin | None:
        """The origin in the record of a supervisor; None for that of an older Easel, or a damaged one."""
        table = (data or {}).get("origin")
        if not isinstance(table, dict):
            return None
        fields = dataclasses.fields(cls)
        kinds = {field.name: int if field.name in ("device", "inode") else str for field in fields}
        if not all(isinstance(table.get(name), kind) for name, kind in kinds.items()):
            return None
        return cls(**{name: table[name] for name in kinds})

    def as_dict(self) -> dict[str, Any]:
        """The origin as JSON data."""
        return dataclasses.asdict(self)

    def whereabouts(self, folder: Path) -> Whereabouts:
        """Where the processes of a job with this origin are, as seen from this machine, which found it in `folder`."""
        now = Origin.of(folder)
        if self.boot and self.boot == now.boot:
            if self.namespace != now.namespace:
                return "elsewhere"
        elif not self.is_from(now):
            return "elsewhere"
        # A folder that was moved is still the same, and the number of a file may change when a disk is mounted again.
        is_same = (self.device, self.inode) == (now.device, now.inode)
        return "here" if is_same or self.path == now.path else "copy"

    def is_from(self, other: Origin) -> bool:
        """Whether both are of the same machine, by its name and its id; a new start of the machine changes neither."""
        differs = self.machine and other.machine and self.machine != other.machine
        return not differs and self.host == other.host

    @property
    def is_past(self) -> bool:
        """Whether the machine was started again since: then no process of that time exists."""
        return bool(self.boot) and self.boot != boot_id()


def uptime_s() -> float:
    """Seconds since the machine was started, including those in which it was suspended; no change of the clock moves it."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@functools.cache
def boot_id() -> str:
    """What identifies this start of the machine; "" where the system does not tell."""
    return _text(_BOOT_ID)


@functools.cache
def host_name() -> str:
    """The name of this machine or container."""
    return platform.node()


@functools.cache
def _machine_id() -> str:
    return next((found for found in map(_text, _MACHINE_IDS) if found), "")


@functools.cache
def _namespace() -> str:
    with contextlib.suppress(OSError):
        return os.readlink(_NAMESPACE)  # noqa: PTH115 - it leads to no file
    return ""


def _text(path: str) -> str:
    with contextlib.suppress(OSError, ValueError):
        return Path(path).read_text("utf-8").strip()
    return ""
