"""What the files of a dataset contain, the paths that lie inside of it, and the lock that keeps two writers apart."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from trainer_core.errors import DatasetError
from trainer_core.text import printable

OWN = ".easel"
"""The folder of Easel's own in a dataset. Its files have no extension of an image, so that no program trains them."""
LOCK = "lock"
NOTHING = "nothing"
"""The mark of a path where there is no file."""
READ_BYTES = 1 << 20

Mark = str
"""What a path has: "nothing", "file SHA256" with the hash of its bytes, or "link SHA256" with that of the path it leads to."""

_inside_of: set[str] = set()
_guard = threading.Condition()


def mark_of(content: bytes) -> Mark:
    """The mark of a file with these bytes."""
    return f"file {hashlib.sha256(content).hexdigest()}"


def mark(path: Path) -> Mark:
    """What a path has now.

    Raises:
        DatasetError: it is a folder, a pipe or a device.
        OSError: it cannot be read.
    """
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return NOTHING
    if stat.S_ISLNK(found.st_mode):
        return f"link {hashlib.sha256(os.fsencode(path.readlink())).hexdigest()}"
    if not stat.S_ISREG(found.st_mode):
        raise DatasetError(f"{printable(path.name, 100)} is not a file.")
    hashed = hashlib.sha256()
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        while block := file.read(READ_BYTES):
            hashed.update(block)
    return f"file {hashed.hexdigest()}"


def stamp(path: Path) -> tuple[int, ...] | None:
    """What changes when a file is written: a cheap way to see that it was not; None where there is no file."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode


def inside(root: Path, path: str) -> Path:
    """The path of a file in a dataset, from its path with "/" relative to the dataset.

    Raises:
        DatasetError: it is absolute, leads out of the dataset, through a link, or into Easel's own folder.
    """
    parts = PurePosixPath(path).parts
    is_plain = bool(parts) and "\0" not in path and "\\" not in path and not path.startswith("/")
    if not is_plain or ".." in parts or parts[0].casefold() == OWN:
        raise DatasetError(f"{printable(path, 100)!r} is not a path inside the dataset.")
    found = root
    for part in parts[:-1]:
        found = found / part
        if found.is_symlink():
            raise DatasetError(f"{printable(path, 100)!r} leads through a link, out of the dataset.")
    return found / parts[-1]


def missing_folders(root: Path, path: str) -> list[str]:
    """The folders that must be made for a file, the outermost first, relative to the dataset."""
    parents = [parent for parent in reversed(PurePosixPath(path).parents) if parent.parts]
    return [str(parent) for parent in parents if not os.path.lexists(root / parent)]


def own_folder(root: Path) -> Path:
    """Easel's own folder in the dataset, made if needed.

    Raises:
        DatasetError: it cannot be made, or is a link.
    """
    own = root / OWN
    try:
        own.mkdir(exist_ok=True)
        if own.is_symlink() or (own / "edits").is_symlink():
            raise DatasetError(f"{OWN} in the dataset is a link, so nothing is written there.", "Remove the link.")
    except OSError as error:
        raise DatasetError(
            f"The dataset cannot be changed: {error.strerror or error}.", "Check the permissions of its folder."
        ) from error
    return own


def link_or_copy(source: Path, target: Path) -> None:
    """Makes `target` the same file as `source`, or a copy of it where the file system has no hard links; a link stays a link.

    Raises:
        OSError: it cannot be made.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENOENT, errno.EEXIST):
            raise
        shutil.copy2(source, target, follow_symlinks=False)


@contextlib.contextmanager
def locked(root: Path, wait_s: float) -> Iterator[None]:
    """No other thread or process is in such a block for this dataset at the same time.

    A file system without locks keeps only the threads of this process apart.

    Raises:
        DatasetError: another one is in it for longer than `wait_s` seconds.
    """
    until, key = time.monotonic() + wait_s, os.path.realpath(root)
    with _guard:
        if not _guard.wait_for(lambda: key not in _inside_of, wait_s):
            raise DatasetError("Another part of Easel changes this dataset now.", "Wait until it is done.")
        _inside_of.add(key)
    handle = None
    try:
        try:
            handle = os.open(own_folder(root) / LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        except OSError as error:
            raise DatasetError(f"The dataset cannot be changed: {error.strerror or error}.") from error
        while not _has(handle):
            if time.monotonic() > until:
                raise DatasetError("Another program changes this dataset now.", "Wait until it is done.")
            time.sleep(0.02)
        yield
    finally:
        if handle is not None:
            os.close(handle)
        with _guard:
            _inside_of.discard(key)
            _guard.notify_all()


def _has(handle: int) -> bool:
    """Whether this process has the lock now, or the file system has none."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True
