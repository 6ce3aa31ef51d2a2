"""Keeps two processes from changing the same file of a folder at once: each reads, changes and writes it in turn."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process or thread is in such a block for this folder at the same time; it waits until that is so.

    It locks the folder itself and creates no file, so it also works on a full disk. A file system without locks, or a folder
    that is not there, does not end the block. Such blocks must not be nested for the same folder.
    """
    import fcntl

    try:
        # A pipe, which a folder of somebody else may have as its lock, would wait for a writer.
        handle = os.open(folder, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        yield
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
