"""Puts a file or folder in another place: by a rename on the same disk, else by a copy that is checked before the old one is removed.

Nothing is ever replaced: where something has the name already, it fails, and both stay.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from trainer_core.errors import FilesError, FilesStopped
from trainer_core.keeping import listing, names, refusals
from trainer_core.text import printable, size

LEFT_FREE_BYTES = 256 << 20
"""How much of a disk stays free: a full disk stops notebooks and trainings."""
_READ_BYTES = 4 << 20
OLD_S = 3600.0
"""What another machine with the same disk writes now is not so old."""
_SCRATCH = re.compile(r"\.easel-(\d{1,9})-[0-9a-f]{8}\.part")
_ANOTHER_DISK = frozenset({errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP})


@dataclass
class Going:
    """Tells how many bytes of how many are done, and hears that the work shall stop."""

    tell: Callable[[int, int], None] = lambda _, __: None
    cancel: threading.Event = field(default_factory=threading.Event)
    done: int = 0
    total: int = 0

    def add(self, count: int) -> None:
        """Counts bytes that are done.

        Raises:
            FilesStopped: the work shall stop.
        """
        self.done += count
        self.tell(self.done, self.total)
        if self.cancel.is_set():
            raise FilesStopped


def carry(source: Path, target: Path, going: Going | None = None) -> None:
    """Moves a file, folder or link to a path where there is nothing.

    Raises:
        FileExistsError: there is something.
        FilesError: the disk is too full, or the copy is not the same as the file.
        FilesStopped: it was stopped; `source` is where it was.
        OSError: it cannot be moved.
    """
    try:
        put(source, target)
    except OSError as error:
        if error.errno not in _ANOTHER_DISK or isinstance(error, FileExistsError):
            raise
        _carry_over(source, target, going or Going())


def put(source: Path, target: Path) -> None:
    """Renames a file, folder or link on its disk. What has the name already is not replaced.

    Raises:
        FileExistsError: something has the name.
        OSError: it cannot be renamed; EXDEV if the target is on another disk.
    """
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, "there is a file or folder with this name", str(target))
    if source.is_dir() and not source.is_symlink():
        # A rename replaces an empty folder, and nothing else.
        source.rename(target)
        return
    try:
        # A link fails where something has come meanwhile, and a rename would replace it.
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno in {errno.EEXIST, errno.EXDEV, errno.ENOENT, errno.EACCES, errno.EROFS, errno.ENOSPC}:
            raise
        # A file system without hard links.
        source.rename(target)
        return
    try:
        source.unlink()
    except FileNotFoundError:
        return
    except OSError:
        # The folder that it is in is write-protected: the file stays there, under its one name.
        target.unlink()
        raise


def copy(source: Path, target: Path, going: Going | None = None) -> Path:
    """Copies a file or folder under this name or the next free one, and returns where the copy is; it was compared with the file.

    Raises:
        FilesError: the copy is not the same.
        FilesStopped: it was stopped; nothing is left of the copy.
        OSError: it cannot be read or written.
    """
    scratch = scratch_in(target.parent)
    try:
        _copy(source, scratch, going or Going())
        return names.take(target, functools.partial(put, scratch), is_folder=source.is_dir())
    finally:
        _remove(scratch)


def sha256(path: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def scratch_in(folder: Path) -> Path:
    """A new hidden path for what is being written in a folder; what processes that were killed have left there is removed first."""
    with contextlib.suppress(OSError):
        for each in folder.iterdir():
            found = _SCRATCH.fullmatch(each.name)
            if found and not _is_running(int(found[1])) and time.time() - each.lstat().st_mtime > OLD_S:
                _remove(each)
    return folder / f".easel-{os.getpid()}-{os.urandom(4).hex()}.part"


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def check_room(folder: Path, needed: int) -> None:
    """Checks that a disk has room for so many bytes.

    Raises:
        FilesError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + LEFT_FREE_BYTES:
        raise FilesError(
            f"This needs {size(needed)}, and {size(free)} are free in {printable(str(folder), 200)}; "
            f"{size(LEFT_FREE_BYTES)} shall stay free.",
            "Delete what you do not need and empty the trash, or choose another folder.",
        )


def _carry_over(source: Path, target: Path, going: Going) -> None:
    _check_removable(source)
    found = listing.measured(source)
    check_room(target.parent, found.size_bytes)
    going.total = going.total or found.size_bytes
    scratch = scratch_in(target.parent)
    try:
        _copy(source, scratch, going)
        put(scratch, target)
    finally:
        _remove(scratch)
    # The copy is complete and has its name: only now the old one goes.
    try:
        _remove(source)
    except OSError:
        # A copy of something that stays whole is not kept; a copy of something of which a part is gone is.
        if listing.measured(source) == found:
            _remove(target)
        raise


def _check_removable(source: Path) -> None:
    """Checks that a file or folder can go, before all of it is copied.

    Raises:
        PermissionError: a folder that would lose a name is write-protected.
    """
    inner = (Path(place) for place, *_ in os.walk(source)) if not source.is_symlink() else ()
    for folder in (source.parent, *inner):
        if not refusals.can_change(folder):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def _copy(source: Path, target: Path, going: Going) -> None:
    about = source.lstat()
    if stat.S_ISLNK(about.st_mode):
        target.symlink_to(source.readlink())
    elif stat.S_ISDIR(about.st_mode):
        target.mkdir()
        with os.scandir(source) as entries:
            names = sorted(each.name for each in entries)
        for name in names:
            _copy(source / name, target / name, going)
        shutil.copystat(source, target)
    elif stat.S_ISREG(about.st_mode):
        _copy_file(source, target, going)
    else:
        raise OSError(errno.EINVAL, "is neither a file nor a folder", str(source))


def _copy_file(source: Path, target: Path, going: Going) -> None:
    read, written = hashlib.sha256(), hashlib.sha256()
    with source.open("rb") as old, target.open("xb") as new:
        while block := old.read(_READ_BYTES):
            read.update(block)
            new.write(block)
            going.add(len(block))
        new.flush()
        os.fsync(new.fileno())
    with target.open("rb") as new:
        while block := new.read(_READ_BYTES):
            written.update(block)
    if read.digest() != written.digest():
        raise FilesError(
            f"The copy of {printable(source.name, 200)} is not the same as the file, so the file stays where it is.",
            "The disk may be damaged.",
        )
    shutil.copystat(source, target)


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
