"""Repeats what a remote service refused only for now, with growing and uneven waits."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from trainer_core.errors import RemoteError, RemoteStopped

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How often something is attempted, and how long Easel waits, in seconds: between attempts, and for an answer."""

    attempts: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    connect_s: float = 10.0
    read_s: float = 60.0


USUAL = Patience()


def keep_trying(
    attempt: Callable[[], T],
    patience: Patience = USUAL,
    cancel: threading.Event | None = None,
    reached: Callable[[], int] = lambda: 0,
) -> T:
    """The result of `attempt`, repeated after passing failures. Whenever `reached` has grown, the count of failures restarts.

    Raises:
        RemoteError: the last passing failure, or the first that will not pass.
        RemoteStopped: `cancel` was set.
    """
    cancel = cancel or threading.Event()
    failures, furthest = 0, reached()
    while True:
        if cancel.is_set():
            raise RemoteStopped
        try:
            return attempt()
        except RemoteError as error:
            if not error.is_passing:
                raise
            if reached() > furthest:
                failures, furthest = 0, reached()
            failures += 1
            wait_s = error.wait_s
            if wait_s is None:
                # Uneven, so that many programs that were refused together do not come back together.
                wait_s = min(patience.first_wait_s * 2 ** (failures - 1), patience.longest_wait_s)
                wait_s *= random.uniform(0.5, 1.0)  # noqa: S311 - no secret depends on it
            if failures >= patience.attempts or wait_s > patience.longest_wait_s:
                raise
        if cancel.wait(wait_s):
            raise RemoteStopped
