"""Keeps two programs from doing the same for a remote run at once, such as starting it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from trainer_core.jobs.folder import writing

LOCKS = ".locks"


@contextlib.contextmanager
def locked(folder: Path, *names: str) -> Iterator[None]:
    """Waits until no other program is at work on these names in this folder. The system gives the locks free when a process ends.

    Raises:
        JobError: the folder cannot be written.
    """
    with contextlib.ExitStack() as held:
        # Always in the same order, so that two programs do not wait for each other.
        for name in sorted(set(names)):
            with writing(folder):
                (folder / LOCKS).mkdir(parents=True, exist_ok=True, mode=0o700)
                handle = os.open(folder / LOCKS / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            held.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
