"""Asks a remote run to look for news now instead of a minute later: an empty file in the folder of the run, `remote/ask-now`.

Whoever follows the run takes the file away and asks the trainer. The file says nothing else, so a wrong one costs one question.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

FOLDER, FILE = "remote", "ask-now"


def mark(folder: Path) -> bool:
    """Asks the follower of the run in this folder to look now; whether it was not asked already.

    Raises:
        OSError: the file cannot be created. Links are not followed.
    """
    with _folder(folder) as run:
        with contextlib.suppress(FileExistsError):
            os.mkdir(FOLDER, dir_fd=run)
        with _folder(FOLDER, run) as remote:
            try:
                os.close(os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=remote))
            except FileExistsError:
                return False
    return True


def is_marked(folder: Path) -> bool:
    """Whether the run in this folder was asked to look, and has not done it yet."""
    return (folder / FOLDER / FILE).is_file()


def take(folder: Path) -> bool:
    """Whether the run in this folder was asked to look now; the next time only if it is asked again."""
    try:
        (folder / FOLDER / FILE).unlink()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _folder(name: str | Path, inside: int | None = None) -> Iterator[int]:
    handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | getattr(os, "O_NOFOLLOW", 0), dir_fd=inside)
    try:
        yield handle
    finally:
        os.close(handle)
