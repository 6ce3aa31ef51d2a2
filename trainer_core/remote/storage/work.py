"""How a transfer is done: its waits, its progress, and the event that stops it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from trainer_core.errors import RemoteStopped
from trainer_core.models.downloads.progress import Meter, Progress
from trainer_core.models.downloads.transfer import DISK_FLOOR_BYTES
from trainer_core.remote.patience import USUAL, Patience

A = TypeVar("A")
R = TypeVar("R")

PIECE_BYTES = 8 << 20
"""How much is transferred with one request; AWS asks for at least 5 MiB."""
PIECES_AT_ONCE = 4
FILES_AT_ONCE = 8


@dataclass(frozen=True)
class Work:
    """The settings of a transfer. `tell` is called with its progress, from any thread, one call at a time."""

    cancel: threading.Event = field(default_factory=threading.Event)
    tell: Callable[[Progress], None] | None = None
    patience: Patience = USUAL
    disk_floor_bytes: int = DISK_FLOOR_BYTES
    piece_bytes: int = PIECE_BYTES

    @property
    def single_bytes(self) -> int:
        """Up to this size a file is read into the memory, and sent with one request."""
        return 2 * self.piece_bytes

    def check(self) -> None:
        """Raises RemoteStopped if the user has stopped it."""
        if self.cancel.is_set():
            raise RemoteStopped


class Tally:
    """Counts the bytes that several threads transfer, and reports the sum."""

    def __init__(self, work: Work, total_bytes: int | None, doing: str) -> None:
        self._meter = Meter(work.tell, total_bytes)
        self._lock = threading.Lock()
        self._done = 0
        self._doing = doing

    def add(self, count: int) -> None:
        """Reports that so many more bytes are done; fewer than 0 if they have to be transferred again."""
        with self._lock:
            self._done += count
            self._meter.at(self._done, self._doing)


def each(do: Callable[[A], R], of: Iterable[A], at_once: int) -> list[R]:
    """The results of a function for each, computed by some threads. After the first error nothing more is begun.

    Raises:
        Exception: the first error; the others have ended then.
    """
    with _pool(at_once) as pool:
        futures = [pool.submit(do, one) for one in of]
        wait(futures, return_when="FIRST_EXCEPTION")
        for future in futures:
            if future.done() and not future.cancelled():
                future.result()
        return [future.result() for future in futures]


def in_order(do: Callable[[A], R], of: Iterable[A], at_once: int) -> Iterator[R]:
    """As `each`, but one after the other as they are ready, and never more than `at_once` ahead of the reader."""
    with _pool(at_once) as pool:
        running: list[Future[R]] = []
        for one in of:
            running.append(pool.submit(do, one))
            if len(running) >= at_once:
                yield running.pop(0).result()
        while running:
            yield running.pop(0).result()


@contextmanager
def _pool(at_once: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(at_once, "transfer")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
