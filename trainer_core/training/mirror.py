"""Copies what a run has made to another folder while it runs, such as one on Google Drive: a session there may end at any time.

`python -m trainer_core.training.mirror RUN FOLDER` makes one pass: it copies what is not there yet, and ends. A pass that was
ended goes on where it was. A copy counts only after it was read again and has the SHA-256 of the file; until then its name
ends with ".part". Nothing is deleted in the folder, nothing there that the mirror has not written is replaced, and no link is followed.
`mirror_place` says which folder it is, and what is recorded.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trainer_core.errors import EaselError, RunError
from trainer_core.files import open_own
from trainer_core.jobs.alone import alone
from trainer_core.text import printable
from trainer_core.training import mirror_place
from trainer_core.training.folder import MIRROR_LOG, RunFolder
from trainer_core.training.mirror_files import RECORDS, File, files, is_own
from trainer_core.training.mirror_notes import forget, open_log

BYTES_A_SECOND = 50 << 20
"""How fast it copies at most: the training reads and writes the same disk."""
_BLOCK = 1 << 20
_NICE = 10
_OF_A_NAME = frozenset(
    {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO}
)
"""Errors that concern one file: the others are copied."""


class _LeftError(Exception):
    """A file that is not copied, and why."""


@dataclass(frozen=True)
class Pass:
    """What a pass did: the folder or its address, the files that it copied, how many were there already, and sentences about those it left out."""

    folder: Path | str
    copied: tuple[str, ...]
    there: int
    left: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """It as JSON data."""
        return {
            "folder": str(self.folder),
            "copied": list(self.copied),
            "there": self.there,
            "left_out": list(self.left),
        }

    @property
    def lack(self) -> str:
        """What was left out, as a sentence; "" if nothing was."""
        first, *more = self.left or ("",)
        return first and f"Left out: {first}{f' And {len(more)} more.' if more else ''}"


def mirror(run: RunFolder, folder: str, bytes_a_second: float = BYTES_A_SECOND) -> Pass:
    """Copies what a run has made and is not yet in the folder; waits while another process does the same.

    Raises:
        RunError: the folder is not there, a file cannot be read or written, or a copy is not the same as its file.
    """
    # Not the lock of the folder, for which a delivery would have to wait as long.
    with contextlib.suppress(OSError):
        open_log(run).close()
    with alone(run.path / MIRROR_LOG):
        try:
            record = mirror_place.read(run)
            target, rows = mirror_place.target_in(mirror_place.base_of(run, folder), record)
            done = _pass(record, target, rows, bytes_a_second)
        except OSError as error:
            where = printable(str(error.filename or folder), 300)
            raise RunError(f"{where}: {error.strerror or error}.", "What was copied before stays.") from error
    if not done.left:
        forget(run, folder)
    return done


def copies(run: RunFolder) -> dict[str, str]:
    """The SHA-256 of each file that was copied, by its path in the folder of the mirror."""
    entries = mirror_place.read(run).targets.values()
    return {name: str(row.get("sha256")) for entry in entries for name, row in entry["files"].items()}


def _pass(record: mirror_place.Record, target: Path, rows: dict[str, Any], bytes_a_second: float) -> Pass:
    pace = Pace(bytes_a_second)
    copied: list[str] = []
    left: list[str] = []
    there = 0
    for each in files(record.run):
        name = each.name
        if not is_own(record.run, each.source):
            # An engine that keeps only the newest checkpoints has deleted it.
            continue
        try:
            with mirror_place.parent_of(target, name, creates=True) as folder:
                if _is_there(record.run, each, folder, rows):
                    there += 1
                elif _put(record, each, folder, rows, pace):
                    copied.append(name)
        except _LeftError as why:
            left.append(f"{printable(name, 200)}: {why}")
        except OSError as error:
            if error.errno not in _OF_A_NAME:
                raise
            left.append(f"{printable(name, 200)}: {printable(str(error.filename), 200)}: {error.strerror or error}.")
    return Pass(target, tuple(copied), there, tuple(left))


def _is_there(run: RunFolder, file: File, folder: int, rows: dict[str, Any]) -> bool:
    """Whether the copy of this file as it is now is there, with its size."""
    found = _replaceable(folder, file.name, rows)
    about, row = (run.path / file.source).stat(), rows.get(file.name, {})
    is_of_now = (row.get("size"), row.get("mtime_ns")) == (about.st_size, about.st_mtime_ns)
    return found is not None and is_of_now and found.st_size == about.st_size


def _replaceable(folder: int, name: str, rows: dict[str, Any]) -> os.stat_result | None:
    """What has the name of a copy, None if nothing has.

    Raises:
        _LeftError: the mirror has not written it.
    """
    found = mirror_place.kind_in(folder, Path(name).name)
    if found is not None and (name not in rows or not stat.S_ISREG(found.st_mode)):
        raise _LeftError("something that the mirror has not written has this name there; rename or delete it.")
    return found


def _put(record: mirror_place.Record, file: File, folder: int, rows: dict[str, Any], pace: Pace) -> bool:
    """Copies a file; False if it is still being written."""
    name = file.name
    source, last = record.run.path / file.source, Path(name).name
    about = source.stat()
    if (digest := _copied(source, folder, last, pace)) is None:
        return False
    # Again: a copy takes minutes.
    _replaceable(folder, name, rows)
    # Before the copy gets its name: if this is ended in between, the next pass still knows whose it is, and copies it again.
    rows[name] = {"size": about.st_size, "sha256": digest}
    record.write()
    os.replace(f".{last}.part", last, src_dir_fd=folder, dst_dir_fd=folder)
    rows[name]["mtime_ns"] = about.st_mtime_ns
    # After each file: a pass that is ended has lost nothing.
    record.write()
    return True


class Pace:
    """Waits, so that no more than so many bytes a second are copied."""

    def __init__(self, bytes_a_second: float, sleep: Callable[[float], None] = time.sleep) -> None:
        self._rate, self._sleep = bytes_a_second, sleep
        self._began, self._done = time.monotonic(), 0

    def add(self, count: int) -> None:
        """Counts bytes, and waits until they may have been copied."""
        self._done += count
        early = self._done / self._rate - (time.monotonic() - self._began)
        if early > 0:
            self._sleep(early)


def _copied(source: Path, folder: int, name: str, pace: Pace) -> str | None:
    """The SHA-256 of a part that was read again; None if the file is still being written: a later pass copies it."""
    part = f".{name}.part"
    with open_own(source) as old, mirror_place.open_part(folder, part) as new:
        size = os.fstat(old.fileno()).st_size
        digest = _goes_on(old, new, size)
        while old.tell() < size and (block := old.read(min(_BLOCK, size - old.tell()))):
            digest.update(block)
            new.write(block)
            pace.add(len(block))
        new.flush()
        os.fsync(new.fileno())
        if os.fstat(old.fileno()).st_size != size and source.name not in RECORDS:
            return None
    with mirror_place.open_in(folder, part) as new:
        proved = hashlib.file_digest(new, "sha256").hexdigest()
    if proved != digest.hexdigest():
        os.unlink(part, dir_fd=folder)
        raise RunError(
            f"The copy of {printable(source.name, 200)} is not the same as the file.", "The disk may be damaged."
        )
    return proved


def _goes_on(old: IO[bytes], new: IO[bytes], size: int) -> Any:
    """The digest of what is copied already, with both files at its end; of nothing if the copy is not the file's beginning."""
    digest = hashlib.sha256()
    done = new.seek(0, os.SEEK_END)
    new.seek(0)
    is_same = done <= size
    while is_same and (block := new.read(_BLOCK)):
        is_same = old.read(len(block)) == block
        digest.update(block)
    if is_same:
        return digest
    old.seek(0)
    new.truncate(0)
    return hashlib.sha256()


def main(arguments: list[str], copies: Callable[[RunFolder, str], Pass] = mirror) -> int:
    """Makes one pass; returns the exit status, with a sentence as the last line if it is 1."""
    run, folder = arguments
    os.nice(_NICE)
    try:
        done = copies(RunFolder.open(Path(run)), folder)
    except EaselError as error:
        print(error, flush=True)
        return 1
    print(f"Mirrored: {len(done.copied)} files copied to {done.folder}, {done.there} were there.", flush=True)
    if done.left:
        print(done.lack, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
