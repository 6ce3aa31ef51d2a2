"""Whether the disk has space for what a run will still save. It is said; nothing is deleted."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.events import Checkpoint, Event, Notice
from trainer_core.hardware import free_disk_bytes
from trainer_core.jobs.gauges.wording import size

EVERY_S = 10.0
TIMES = 2.0
"""There should be space for so many of what the next checkpoint needs."""
FLOOR_BYTES = 1 << 30
"""Before the size of a checkpoint is known, less free space than this is told."""


class SpaceWatch:
    """Compares the free space with what a checkpoint has needed so far: its files, and those written since the one before."""

    def __init__(self, output: Path, wanted: Mapping[str, Any]) -> None:
        self._output = output
        self._targets = tuple(_targets(wanted, output))
        self._needs = self._counted = self._result = 0
        self._next = 0.0
        self._low: set[Path] = set()
        self._free = _FreeSpace(self._targets)

    def look(self, now: float, happened: Sequence[Event]) -> Iterator[Notice]:
        """A warning for each disk that has become too full. `happened` are the events since the last call."""
        if any(isinstance(event, Checkpoint) for event in happened):
            self._measure([event.path for event in happened if isinstance(event, Checkpoint)])
        elif now < self._next:
            return
        self._next = now + EVERY_S
        yield from self._own_disk()
        for folder, free in self._free.look():
            if self._result and self._crosses(folder, free, self._result):
                yield Notice(
                    "warning",
                    f"Only {size(free)} are free in {folder}, and the result takes about {size(self._result)}. If there is no "
                    "space when the run ends, the result stays in the run folder.",
                )

    def _own_disk(self) -> Iterator[Notice]:
        try:
            free = free_disk_bytes(self._output)
        except OSError:
            return
        if not self._crosses(self._output, free, TIMES * self._needs if self._needs else FLOOR_BYTES):
            return
        needs = f", and each checkpoint takes about {size(self._needs)}" if self._needs else ""
        yield Notice(
            "warning",
            f"Only {size(free)} are free on the disk of this run{needs}. When the disk is full, the engine cannot save and the run "
            "may fail. Free some space, for example from older runs; Easel deletes nothing by itself.",
        )

    def _crosses(self, folder: Path, free: int, least: float) -> bool:
        """Whether there has become too little; it is said again only after there was clearly enough."""
        was_low = folder in self._low
        if free >= least * (1.5 if was_low else 1):
            self._low.discard(folder)
            return False
        self._low.add(folder)
        return not was_low

    def _measure(self, paths: list[str]) -> None:
        """What was written since the last checkpoint, with the training state and samples: the most so far."""
        total = folder_bytes(self._output)
        self._needs, self._counted = max(self._needs, total - self._counted), total
        self._result = max(self._result, *(folder_bytes(self._output.parent / path) for path in paths))


class _FreeSpace:
    """The free space of folders on other disks, asked in a thread: one that is away, as on a network, may never answer."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders
        self._found: list[tuple[Path, int]] = []
        self._thread: threading.Thread | None = None

    def look(self) -> list[tuple[Path, int]]:
        """The newest answers, each once; asks again unless the last question is still open."""
        if not self._folders or (self._thread is not None and self._thread.is_alive()):
            return []
        found, self._found = self._found, []
        self._thread = threading.Thread(target=self._ask, name="free-space", daemon=True)
        self._thread.start()
        return found

    def _ask(self) -> None:
        for folder in self._folders:
            try:
                self._found.append((folder, free_disk_bytes(folder)))
            except OSError:
                continue


def _targets(wanted: Mapping[str, Any], output: Path) -> Iterator[Path]:
    """The folders into which the result is put, if they are on other disks than the run."""
    names = [wanted.get("folder") or str(places.outputs()), wanted.get("copy_to")]
    for folder in (Path(name) for name in names if name):
        try:
            if _disk(folder) != _disk(output):
                yield folder
        except OSError:
            continue


def _disk(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.stat().st_dev


def folder_bytes(path: Path) -> int:
    """The size of a file, or of all files in a folder; what has gone meanwhile counts nothing."""
    if not path.is_dir():
        return _size(path)
    return sum(_size(Path(place, name)) for place, _, names in os.walk(path) for name in names)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
