"""Whether the system killed a process for lack of memory, by the kernel's own count."""

from __future__ import annotations

import re
import time
from pathlib import Path

LATELY_S = 30.0
"""How long a program may need to end after the system killed one of its processes, in seconds."""
_CGROUPS = Path("/sys/fs/cgroup")


class Kills:
    """The kills since this object was created in this process's control group: its container or session."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or _counter()
        self._count, self._last = _count(self._file), 0.0

    def look(self) -> None:
        """Reads the count."""
        if (count := _count(self._file)) > self._count:
            self._count, self._last = count, time.monotonic()

    def lately(self) -> bool:
        """Whether there was one within the last seconds."""
        self.look()
        return bool(self._last) and time.monotonic() - self._last <= LATELY_S


def _counter() -> Path:
    """The file in which the kernel counts the processes of this control group that it killed for lack of memory.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (memory.events) and cgroup-v1/memory.rst (memory.oom_control).
    """
    try:
        rows = [row.split(":", 2) for row in Path("/proc/self/cgroup").read_text("utf-8").splitlines()]
    except OSError:
        return _CGROUPS / "memory.events"
    for _, kinds, folder in (row for row in rows if len(row) == 3):
        root, name = (
            (_CGROUPS / "memory", "memory.oom_control") if "memory" in kinds.split(",") else (_CGROUPS, "memory.events")
        )
        # Inside a container the folder may be that of the machine, and only the root is there.
        for file in (root / folder.lstrip("/") / name, root / name):
            if (not kinds or root != _CGROUPS) and file.is_file():
                return file
    return _CGROUPS / "memory.events"


def _count(file: Path) -> int:
    """The number of kills in such a file; 0 where it cannot be read, as outside Linux."""
    try:
        found = re.search(r"^oom_kill (\d+)$", file.read_text("utf-8"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0
