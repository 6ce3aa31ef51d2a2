"""Reading many headers: here, or by several processes where there are many to read.

Reading a header keeps Python busy, so threads would take turns, and a notebook would stand still meanwhile. A process
that a file brings down costs that one file.

`python -m trainer_core.library` is such a process.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from trainer_core import detection, header, places
from trainer_core.errors import EaselError
from trainer_core.library.cache import Row
from trainer_core.library.entry import as_row

FEW = 60
"""Up to so many files are read here: starting processes takes about as long."""
MOST_PROCESSES = 8
BLOCK_BYTES = str(32 * 1024 * 1024)
"""A block up to this size is kept for the next header instead of going back to the system: half the time of a cold scan.
Source: glibc, mallopt(3); other C libraries take no notice."""
AGAIN: Row = {"again": True}
"""Marks an answer that the next scan does not take over: the file may be read then without having changed."""


def read(paths: Sequence[Path], is_cancelled: Callable[[], bool]) -> Generator[tuple[Path, Row]]:
    """What each path holds, in any order, until cancelled."""
    if len(paths) > FEW and sys.executable:
        yield from _by_processes(paths, is_cancelled)
        return
    for path in paths:
        if is_cancelled():
            return
        yield path, recognise(path)


def recognise(path: Path) -> Row:
    """What the header of a model says it is, or why that cannot be told."""
    try:
        return as_row(detection.detect(header.read(path)), "")
    except EaselError as error:
        return as_row(None, str(error)) | ({} if os.access(path, os.R_OK) else AGAIN)


def _by_processes(paths: Sequence[Path], is_cancelled: Callable[[], bool]) -> Generator[tuple[Path, Row]]:
    waiting: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for path in paths:
        waiting.put(path)
    done: queue.SimpleQueue[tuple[Path, Row] | None] = queue.SimpleQueue()
    ended = threading.Event()
    count = max(2, min(MOST_PROCESSES, os.cpu_count() or 1))
    threads = [threading.Thread(target=_feed, args=(waiting, done, ended), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        working = count
        while working and not is_cancelled():
            try:
                answer = done.get(timeout=0.1)
            except queue.Empty:
                continue
            if answer is None:
                working -= 1
            else:
                yield answer
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _feed(
    waiting: queue.SimpleQueue[Path], done: queue.SimpleQueue[tuple[Path, Row] | None], ended: threading.Event
) -> None:
    """Gives paths to one process until there are none left; starts another when a file brought it down."""
    reader: subprocess.Popen[str] | None = None
    try:
        while not ended.is_set():
            try:
                path = waiting.get_nowait()
            except queue.Empty:
                return
            reader = reader or _start()
            row = _ask(reader, path)
            if row is None:
                _end(reader)
                reader = None
                row = as_row(None, "It cannot be read: it brought the process down that read it.") | AGAIN
            done.put((path, row))
    finally:
        if reader is not None:
            _end(reader)
        done.put(None)


def _start() -> subprocess.Popen[str]:
    path = [os.environ.get("PYTHONPATH", "")]
    if places.in_checkout():
        path.insert(0, str(places.CHECKOUT))
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, path))}
    environment |= dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), BLOCK_BYTES)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "trainer_core.library"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
        encoding="utf-8",
    )


def _ask(reader: subprocess.Popen[str], path: Path) -> Row | None:
    """The answer of a process; None when it is gone."""
    asking, answering = reader.stdin, reader.stdout
    assert asking is not None
    assert answering is not None
    try:
        asking.write(json.dumps(str(path)) + "\n")
        asking.flush()
        return json.loads(answering.readline())
    except (OSError, ValueError):
        return None


def _end(reader: subprocess.Popen[str]) -> None:
    reader.kill()
    reader.communicate()
