"""Remembers what was read of ended runs, so that a history of a thousand runs is not parsed again each time.

    <home>/history.json   by run folder: the state of its small files, and what was read of them

A run is read again as soon as one of these files has another inode, size or time. The file is only a copy: it can be deleted at
any time, and one that is damaged or from another Easel is not used.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainer_core import __version__, places
from trainer_core.files import open_regular, write_whole
from trainer_core.jobs.folder import RESULT, SPEC

VERSION = 3
FILES = (SPEC, "versions.json", RESULT, "labels.json", "plan.toml")
"""The files of a run folder that the history reads."""
LARGEST_FILE_BYTES = 64 << 20

State = list[list[int] | None]
"""Of each of FILES its inode, size in bytes and time in nanoseconds; None if it does not exist."""


class PastCache:
    """What is known of the runs in one file. Several threads may use it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._rows: dict[str, tuple[State, Mapping[str, Any]]] | None = None
        self._changed = False

    def get(self, name: str, state: State) -> Mapping[str, Any] | None:
        """What was read of the run with this name when its files were in this state; None if it must be read."""
        with self._lock:
            known = self._loaded().get(name)
        return known[1] if known is not None and known[0] == state else None

    def put(self, name: str, state: State, row: Mapping[str, Any]) -> None:
        """Keeps what was read of a run."""
        with self._lock:
            self._loaded()[name] = state, row
            self._changed = True

    def save(self, names: Iterable[str]) -> None:
        """Writes the file if something has changed; runs without one of these names are forgotten."""
        with self._lock:
            kept = set(names)
            rows = self._loaded()
            for gone in rows.keys() - kept:
                del rows[gone]
                self._changed = True
            if not self._changed:
                return
            self._changed = False
            # A folder that cannot be written makes the next look slower, and nothing else. A value without a form in JSON
            # (a date in an old plan) is not worth more.
            with contextlib.suppress(OSError, TypeError, ValueError):
                write_whole(self.file, json.dumps({"version": VERSION, "easel": __version__, "runs": rows}))

    def _loaded(self) -> dict[str, tuple[State, Mapping[str, Any]]]:
        if self._rows is None:
            self._rows = _read(self.file)
        return self._rows


_caches: dict[Path, PastCache] = {}


def of_home() -> PastCache:
    """The cache of Easel's present home folder."""
    file = places.home() / "history.json"
    return _caches.setdefault(file, PastCache(file))


def state_of(folder: Path) -> State:
    """The present state of the files of a run."""
    return [_state(f"{folder}/{name}") for name in FILES]


def _state(path: str) -> list[int] | None:
    try:
        # os.stat with a text: this is done for each file of each run, and Path takes longer than the system call.
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return [found.st_ino, found.st_size, found.st_mtime_ns]


def _read(file: Path) -> dict[str, tuple[State, Mapping[str, Any]]]:
    try:
        with open_regular(file) as opened:
            data = json.loads(opened.read(LARGEST_FILE_BYTES))
        if (data["version"], data["easel"]) != (VERSION, __version__):
            return {}
        return {str(name): (state, {**row}) for name, (state, row) in data["runs"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
