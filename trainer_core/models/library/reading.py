"""Reads many headers: in this process, or in several processes when there are many.

Reading a header is work for the Python interpreter, so threads would not run in parallel and would block a notebook. A file
that crashes a process affects only itself.

`python -m trainer_core.models.library` is such a process.
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

from trainer_core import places
from trainer_core.errors import EaselError
from trainer_core.models import detection, header
from trainer_core.models.library.cache import Row
from trainer_core.models.library.entry import as_row

FEW = 60
"""Up to this many files are read in this process: starting other processes takes about as long."""
MOST_PROCESSES = 8
BLOCK_BYTES = str(32 * 1024 * 1024)
"""Memory blocks up to this size are reused instead of returned to the system, which halves the time of a cold scan.
Source: glibc, mallopt(3); other C libraries ignore it."""
AGAIN: Row = {"again": True}
"""Marks a result that the next scan must not reuse: the file may become readable without a change."""


def read(paths: Sequence[Path], is_cancelled: Callable[[], bool]) -> Generator[tuple[Path, Row]]:
    """What the model at each path is, in any order, until cancelled."""
    if len(paths) > FEW and sys.executable:
        yield from _by_processes(paths, is_cancelled)
        return
    for path in paths:
        if is_cancelled():
            return
        yield path, recognise(path)


def recognise(path: Path) -> Row:
    """What a model is according to its header, or why Easel cannot tell."""
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
    """Sends paths to one process until none are left; starts a new process after a crash."""
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
                row = as_row(None, "It cannot be read: the process that read it crashed.") | AGAIN
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
        [sys.executable, "-P", "-m", "trainer_core.models.library"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
        encoding="utf-8",
    )


def _ask(reader: subprocess.Popen[str], path: Path) -> Row | None:
    """The answer of a process; None when the process has ended."""
    asking, answering = reader.stdin, reader.stdout
    assert asking is not None
    assert answering is not None
    try:
        asking.write(json.dumps(str(path)) + "\n")
        asking.flush()
        return json.loads(answering.readline())
    except (OSError, ValueError, RecursionError):
        return None


def _end(reader: subprocess.Popen[str]) -> None:
    reader.kill()
    reader.communicate()
