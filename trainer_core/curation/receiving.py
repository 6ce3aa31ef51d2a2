"""Receives files in pieces, as a page in a browser sends them, into a folder beside the datasets, for `importing` to take them in.

A page that has lost its connection begins again with the same list, and hears how much of each file is here. What is said of a
file is not trusted: its name is made safe, and its bytes are counted as they come.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from trainer_core import places
from trainer_core.curation import incoming_names, tars
from trainer_core.curation.leftovers import Scratch
from trainer_core.curation.unpacking import IMAGES, LEADS_OUT, NEITHER, START_BYTES, TABLES, TEXTS, USUAL, Limits, doubt
from trainer_core.datasets.captions import LARGEST_CAPTION_BYTES
from trainer_core.errors import DatasetError
from trainer_core.text import printable, size

LARGEST_CHUNK_BYTES = 16 << 20
LEFT_FREE_BYTES = 256 << 20
"""How much of the disk stays free: a full disk stops notebooks and trainings."""
PARTS, FILES, PACKED = "parts", "files", "packed"


@dataclass(frozen=True)
class Answer:
    """What is said to one announced file: its id and how many of its bytes are here, or why it is refused."""

    path: str
    id: str = ""
    have: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Received:
    """What arrived: the folder and the archives to import, how many files they are, and what was refused, as (name, reason)."""

    sources: tuple[Path, ...]
    files: int
    refused: tuple[tuple[str, str], ...]


@dataclass
class _File:
    """A file that arrives."""

    id: str
    said: str
    path: PurePosixPath
    size: int
    sha256: str
    place: Path
    have: int = 0
    refused: str = ""
    guard: threading.Lock = field(default_factory=threading.Lock)


class Receiver:
    """Files that arrive in a new folder inside `folder`; it removes what receivers that ended without a word have left there.

    All methods can be called from several threads.

    Raises:
        DatasetError: the folder cannot be written.
    """

    def __init__(self, folder: Path | None = None, limits: Limits = USUAL) -> None:
        around = folder or places.incoming()
        self._limits, self._guard = limits, threading.Lock()
        self._files: dict[str, _File] = {}
        self._by_said: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._names, self._is_open = incoming_names.Names(), True
        try:
            self._scratch = Scratch(around, "upload")
            self._place = self._scratch.path
            for part in (PARTS, FILES, PACKED):
                (self._place / part).mkdir()
        except OSError as error:
            raise DatasetError(
                f"{printable(str(around), 200)} cannot be written: {error.strerror or error}."
            ) from error

    def begin(self, announced: Iterable[Mapping[str, Any]]) -> list[Answer]:
        """What is said to each announced file, in their order.

        A file that was announced before, with the same size, goes on where it is; with another size it starts anew.

        Args:
            announced: for each file its `path`, with the folders inside of what the user chose; its `size` in bytes; and `sha256` if known.

        Raises:
            DatasetError: they do not fit on the disk, or it was finished or cancelled.
        """
        with self._guard:
            self._check_open()
            answers = [self._begin(row) for row in announced]
            missing = sum(one.size - one.have for one in self._files.values() if not one.refused)
            free = shutil.disk_usage(self._place).free
            if missing + LEFT_FREE_BYTES > free:
                raise DatasetError(
                    f"The files need {size(missing)}, and {size(free)} are free; {size(LEFT_FREE_BYTES)} shall stay free.",
                    "Free some space.",
                )
            return answers

    def write(self, name: str, offset: int, data: bytes | memoryview) -> int:
        """Takes a piece of the file with this id; returns how many bytes of it are here now.

        A piece that was received before is not written twice. One that lies behind a gap is not taken: the sender goes on from
        the number that is returned.

        Raises:
            DatasetError: the file is not known or becomes larger than announced, or the disk is full.
        """
        with self._guard:
            self._check_open()
            found = self._files.get(name)
        if found is None or found.refused:
            raise DatasetError(f"This file is not expected: {found.refused if found else 'it was not announced'}.")
        piece = memoryview(data).cast("B")
        if offset < 0 or len(piece) > LARGEST_CHUNK_BYTES:
            raise DatasetError(f"A piece of {printable(found.said, 100)} is larger than {size(LARGEST_CHUNK_BYTES)}.")
        with found.guard:
            if offset > found.have:
                return found.have
            if offset + len(piece) > found.size:
                raise self._refuse(found, f"it is larger than the {found.size:,} bytes that were announced")
            starts = found.have == 0 and len(piece) >= START_BYTES
            if starts and (reason := doubt(found.path, found.size, bytes(piece[:START_BYTES]))):
                raise self._refuse(found, reason)
            self._append(found, piece[found.have - offset :])
            if found.have == found.size and found.sha256 and _hash(found.place) != found.sha256:
                raise self._refuse(found, "it was damaged on the way: its SHA-256 is another one")
            return found.have

    def progress(self) -> tuple[int, int]:
        """How many bytes are here, and how many were announced."""
        with self._guard:
            known = [one for one in self._files.values() if not one.refused]
        return sum(one.have for one in known), sum(one.size for one in known)

    def finish(self) -> Received:
        """What arrived, under its names. Nothing more is taken; `close` removes it, when it was imported.

        Raises:
            DatasetError: it was finished or cancelled, or the disk fails.
        """
        with self._guard:
            self._check_open()
            self._is_open = False
        count, packed = 0, []
        for one in self._files.values():
            with one.guard:
                if one.refused:
                    continue
                if one.have < one.size:
                    self._refused[one.said] = f"it did not arrive whole: {one.have:,} of {one.size:,} bytes"
                    continue
                target = self._place / (PACKED if _is_packed(one.path) else FILES) / one.path
                try:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    one.place.replace(target)
                except OSError as error:
                    self._refused[one.said] = printable(error.strerror or str(error), 100)
                    continue
                count += 1
                if _is_packed(one.path):
                    packed.append(target)
        single = [self._place / FILES] if any((self._place / FILES).iterdir()) else []
        refused = tuple((printable(name, 200), reason) for name, reason in self._refused.items())
        return Received((*single, *sorted(packed)), count, refused)

    def cancel(self) -> None:
        """Removes everything that arrived; nothing more is taken."""
        with self._guard:
            self._is_open = False
        for one in self._files.values():
            # A piece that is being written ends first.
            with one.guard:
                one.refused = "it was cancelled"
        self._scratch.close()

    close = cancel

    # ---- inside ----
    def _check_open(self) -> None:
        if not self._is_open:
            raise DatasetError("These files are not expected any more.", "Choose them again.")

    def _begin(self, row: Mapping[str, Any]) -> Answer:
        said, length, sha256 = row.get("path"), row.get("size"), row.get("sha256") or ""
        if not isinstance(said, str) or type(length) is not int or not isinstance(sha256, str):
            return Answer(printable(str(said), 200), reason="it was announced without a path and a size")
        if (name := self._by_said.get(said)) is not None:
            known = self._files[name]
            if known.size == length and not known.refused:
                return Answer(said, known.id, known.have)
            with known.guard:
                known.refused = "it was announced again"
                known.place.unlink(missing_ok=True)
        path = incoming_names.plain(said)
        reason = LEADS_OUT if path is None else self._reason(path, length)
        if path is None or reason:
            self._refused[said] = reason
            return Answer(said, reason=reason)
        if incoming_names.is_skipped(path):
            # Nobody misses what a system has added.
            return Answer(said, reason="it is a file of the system")
        self._refused.pop(said, None)
        number = str(len(self._files) + 1)
        found = _File(number, said, self._names.of(path), length, sha256.casefold(), self._place / PARTS / number)
        found.place.touch()
        self._files[number], self._by_said[said] = found, number
        return Answer(said, number)

    def _reason(self, path: PurePosixPath, length: int) -> str:
        """Why a file is refused; "" if it is not."""
        ending, is_packed = path.suffix.casefold(), _is_packed(path)
        if ending not in IMAGES | TEXTS | TABLES and not is_packed:
            return NEITHER
        most = self._limits.total_bytes if is_packed else LARGEST_CAPTION_BYTES if ending in TEXTS else self._limits.file_bytes  # fmt: skip
        if not 0 <= length <= most:
            return f"it is larger than {size(most)}"
        if len(self._files) >= self._limits.entries:
            return f"there are more than {self._limits.entries:,} files"
        if sum(one.size for one in self._files.values() if not one.refused) + length > self._limits.total_bytes:
            return f"the files are larger than {size(self._limits.total_bytes)} together"
        return ""

    def _append(self, found: _File, piece: memoryview) -> None:
        try:
            handle = os.open(found.place, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0))
            try:
                done = 0
                while done < len(piece):
                    done += os.pwrite(handle, piece[done:], found.have + done)
            finally:
                os.close(handle)
        except OSError as error:
            # What was written of the piece is written again by the next one.
            raise DatasetError(
                f"{printable(found.said, 100)} cannot be stored: {error.strerror or error}.", "Free some space."
            ) from error
        found.have += len(piece)

    def _refuse(self, found: _File, reason: str) -> DatasetError:
        found.refused = reason
        self._refused[found.said] = reason
        found.place.unlink(missing_ok=True)
        return DatasetError(f"{printable(found.said, 100)} was refused: {reason}.")


def _is_packed(path: PurePosixPath) -> bool:
    return path.suffix.casefold() == ".zip" or tars.has_name(path.name)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
