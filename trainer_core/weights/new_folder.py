"""Makes a new folder of files: it appears under its name when it is complete, and replaces nothing."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from trainer_core.errors import WeightsError
from trainer_core.models.header.tensors import shown
from trainer_core.weights import writing


@contextlib.contextmanager
def making(target: Path, size: int, check: Callable[[], None]) -> Iterator[Path]:
    """A folder under another name, which gets the name `target` at the end of the block, or is removed.

    `size` is the space that it needs, in bytes. `check` is called before it gets its name. What an earlier job that was killed
    left there is removed.

    Raises:
        WeightsError: the target exists, the disk is too full, or another job makes this folder.
        OSError: the folder cannot be written.
    """
    _check_free(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = writing.part_of(target)
    lock = _locked(part)
    try:
        for left in part.iterdir():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()
        writing.check_disk(target.parent, size)
        yield part
        check()
        _sync(part)
        _check_free(target)
        # A folder that another program makes in this moment is only replaced if it is empty.
        part.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise WeightsError(f"{shown(target)} already exists.", "Choose another name.") from error
        raise
    finally:
        with contextlib.suppress(OSError):
            if os.path.samestat(part.lstat(), os.fstat(lock)):
                shutil.rmtree(part)
        os.close(lock)


def discard_part(target: Path) -> None:
    """Removes the unfinished folder that a job left which was killed; not that of a job that makes it now.

    Raises:
        OSError: it cannot be removed.
    """
    part = writing.part_of(target)
    if part.is_dir() and not part.is_symlink():
        with contextlib.suppress(WeightsError):
            lock = _locked(part)
            shutil.rmtree(part)
            os.close(lock)


def add(folder: Path, texts: Mapping[str, str], copies: Mapping[str, Path]) -> None:
    """Writes texts, and copies of files, into a folder; the keys are paths below it.

    Raises:
        OSError: a file cannot be read or written.
    """
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name, source in copies.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)


def _check_free(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise WeightsError(f"{shown(target)} already exists.", "Choose another name.")


def _locked(part: Path) -> int:
    part.mkdir(exist_ok=True)
    lock = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            os.close(lock)
            raise WeightsError(
                f"Another job is making {shown(part)}.", "Wait for it, or choose another name."
            ) from error
    return lock


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            try:
                os.fsync(file)
            finally:
                os.close(file)
