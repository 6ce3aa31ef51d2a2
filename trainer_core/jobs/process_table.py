"""What the system says of its processes. Linux answers in files, which are read here; other systems are asked through psutil.

The files take a tenth of the time, and a supervisor asks as long as a job runs.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

IS_LINUX = sys.platform == "linux"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def started(pid: int) -> str:
    """The start time of a process, as text that stays the same while it runs; "" if there is none or it is a zombie."""
    if not IS_LINUX:
        return _started_elsewhere(pid)
    fields = _stat(pid)
    # Clock ticks since boot: they stay the same when the system's clock is changed.
    return "" if not fields or fields[0] in (b"Z", b"X") else f"{_boot_id()}:{fields[19].decode()}"


def rows() -> Iterator[tuple[int, int, int]]:
    """The id, parent and session of each process, zombies included."""
    if not IS_LINUX:
        yield from _rows_elsewhere()
        return
    for name in os.listdir("/proc"):  # noqa: PTH208 - a Path for each of thousands of names takes longer than all the rest
        if name.isdigit() and (fields := _stat(int(name))):
            yield int(name), int(fields[1]), int(fields[3])


def memory_bytes(pid: int) -> int:
    """The resident memory of a process; 0 if there is none."""
    if not IS_LINUX:
        with contextlib.suppress(*_gone()):
            return _psutil().Process(pid).memory_info().rss
        return 0
    fields = _bytes(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _page_bytes() if len(fields) > 1 else 0


def has_variable(pid: int, name: str, value: str) -> bool:
    """Whether a process was started with this environment variable."""
    if not IS_LINUX:
        with contextlib.suppress(*_gone(), OSError):
            return _psutil().Process(pid).environ().get(name) == value
        return False
    return b"%s=%s" % (os.fsencode(name), os.fsencode(value)) in _bytes(f"/proc/{pid}/environ").split(b"\0")


def _stat(pid: int) -> list[bytes]:
    """The fields of a process from its state on; none if it does not exist. Source: Linux, proc(5), /proc/pid/stat."""
    # The name in parentheses may contain any character, so the fields are counted after the last parenthesis.
    return _bytes(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _bytes(path: str) -> bytes:
    with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:  # noqa: PTH123 - as in `rows`
        return file.readall()
    return b""


@cache
def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path(_BOOT_ID).read_text("utf-8").strip()
    return ""


@cache
def _page_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE")


def _psutil() -> Any:
    import psutil

    return psutil


def _gone() -> tuple[type[Exception], ...]:
    found = _psutil()
    return found.NoSuchProcess, found.AccessDenied, found.ZombieProcess


def _started_elsewhere(pid: int) -> str:
    with contextlib.suppress(*_gone()):
        process = _psutil().Process(pid)
        return "" if process.status() == _psutil().STATUS_ZOMBIE else f"{process.create_time():.2f}"
    return ""


def _rows_elsewhere() -> Iterator[tuple[int, int, int]]:
    for process in _psutil().process_iter():
        with contextlib.suppress(*_gone(), OSError):
            yield process.pid, process.ppid(), os.getsid(process.pid)
