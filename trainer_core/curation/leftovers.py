"""Folders for what is on its way, and their removal when the process that made them has ended without a word."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

LOCK = "lock"
INCOMING = "incoming"
"""The folder, in Easel's own one of a dataset, of files that wait to become a part of the dataset."""


class Scratch:
    """A new folder in `around`, named after what it is for; first, those of processes that have ended are removed.

    The system releases its lock when the process ends, even when it is killed.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, around: Path, what: str) -> None:
        around.mkdir(parents=True, exist_ok=True)
        remove(around, what)
        self.path = around / f"{what}-{os.getpid()}-{os.urandom(4).hex()}"
        # It gets its name when it is locked: another process must not take it for one that was left.
        unnamed = self.path.with_name(f".{self.path.name}")
        unnamed.mkdir()
        self._handle: int | None = os.open(unnamed / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        _has(self._handle)
        unnamed.rename(self.path)

    def close(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        handle, self._handle = self._handle, None
        if handle is not None:
            with contextlib.suppress(OSError):
                os.close(handle)


@contextlib.contextmanager
def new_files(around: Path, what: str) -> Iterator[Callable[[], Path]]:
    """Gives a function that names the next new file in a folder of its own in `around`; all of them are removed at the end.

    Raises:
        OSError: the folder cannot be made.
    """
    scratch, numbers = Scratch(around, what), itertools.count()
    try:
        yield lambda: scratch.path / str(next(numbers))
    finally:
        scratch.close()
        with contextlib.suppress(OSError):
            around.rmdir()


def remove(around: Path, what: str) -> None:
    """Removes the folders in `around`, for the same thing, whose process has ended."""
    for folder in around.glob(f"{what}-*"):
        if folder.is_symlink() or not folder.is_dir():
            continue
        try:
            handle = os.open(folder / LOCK, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        except OSError:
            continue
        try:
            if _has(handle):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)


def _has(handle: int) -> bool:
    """Whether the lock is this process's now; False also where the file system has no locks."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
