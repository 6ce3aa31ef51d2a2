"""The supervisor's side of the process that reads the GPUs: starts it, takes its newest answer, and never waits for it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from trainer_core.events import Gpu, read_gpu
from trainer_core.jobs import processes
from trainer_core.jobs.gauges.visible import AMD_VARIABLES

ROOT = Path(__file__).parents[3]
"""The folder from which this package is imported."""
VARIABLES = (
    *("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"),
    *AMD_VARIABLES,
)
"""The environment of the reading process. Without the mark of a job's processes: it is none, and might never end."""
SILENCE_S = 60.0
"""A driver that has answered and then does not for this many seconds hangs."""
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from trainer_core.jobs.gauges.reader import main; sys.exit(main())"
)
_MOST_BYTES = 1 << 20
_END_S = 1.0
_FIRST_NAMESPACE = 0xEFFFFFFC
"""The number of the namespace of process ids that the machine itself has. Source: Linux, include/linux/proc_ns.h."""


class GpuReader:
    """The newest figures of the GPUs that the programs with this `environment` may use."""

    def __init__(self, environment: Mapping[str, str], sees_all: bool | None = None) -> None:
        self._environment = {name: environment[name] for name in VARIABLES if name in environment}
        self._sees_all = _sees_machine() if sees_all is None else sees_all
        self._process: subprocess.Popen[bytes] | None = None
        self._is_useless = False
        self._text = b""
        self._rows: list[dict[str, Any]] = []
        self._heard = 0.0

    @property
    def pid(self) -> int:
        """The id of the reading process; 0 if it does not run."""
        return self._process.pid if self._process else 0

    def look(self, now: float) -> bool:
        """Takes the answers that have come; returns whether there was one. Starts the process if necessary."""
        if self._is_useless:
            return False
        if self._process is None:
            self._start()
            return False
        read = self._read()
        if read is None:
            # It has found no GPU, or has crashed; it would do so again.
            self.close()
            self._is_useless = True
            return False
        *lines, self._text = (self._text + read)[-_MOST_BYTES:].split(b"\n")
        if lines and (rows := _rows(lines[-1])) is not None:
            self._rows, self._heard = rows, now
            return True
        return False

    def is_silent(self, now: float) -> bool:
        """Whether the driver has answered before and does not any more."""
        return self.pid != 0 and self._heard > 0 and now - self._heard >= SILENCE_S

    @property
    def lost(self) -> list[str]:
        """The GPUs that the driver says it has lost."""
        return [f"{row.get('index')} ({row.get('name')})" for row in self._rows if row.get("lost") is True]

    def gpus(self, now: float, own: Collection[int]) -> tuple[Gpu, ...]:
        """The newest figures; none if they are old. `own` are the ids of the job's processes.

        If the driver tells which GPUs these use, only those are given. Inside a container the driver's ids are those of the
        machine, which mean other processes here.
        """
        if now - self._heard >= SILENCE_S:
            return ()
        gpus = []
        for row in self._rows:
            known = _own_bytes(row.get("processes"), own) if self._sees_all else None
            gpus.append(read_gpu(row if known is None else {**row, "own_bytes": known}))
        used = tuple(gpu for gpu in gpus if gpu.own_bytes)
        return used or tuple(gpus)

    def close(self) -> None:
        """Ends the process. One that hangs in the driver cannot be ended, and is not waited for."""
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
                processes.forget(self._process.pid)
            if self._process.stdout is not None:
                self._process.stdout.close()
        self._process, self._text, self._heard, self._rows = None, b"", 0.0, []

    def _start(self) -> None:
        try:
            self._process = subprocess.Popen(
                # -S: without the packages of the environment, whose start costs more than all that it does.
                [sys.executable, "-I", "-S", "-c", _PROGRAM, str(ROOT)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            self._is_useless = True
            return
        processes.set_apart(self._process.pid)
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def _read(self) -> bytes | None:
        """What the process has written since the last call; None if it has ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            return os.read(self._process.stdout.fileno(), _MOST_BYTES) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None


def _rows(line: bytes) -> list[dict[str, Any]] | None:
    try:
        rows = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else None


def _own_bytes(listed: Any, own: Collection[int]) -> int | None:
    """The bytes of the job's own processes in a driver's list; None without a list."""
    return sum(size for pid, size in listed if pid in own) if isinstance(listed, list) else None


def _sees_machine() -> bool:
    """Whether the process ids here are those of the machine, so that the driver's list can be compared with them."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino == _FIRST_NAMESPACE
    except OSError:
        return False
