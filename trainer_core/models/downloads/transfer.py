"""Transfers one file from its server into its part file: complete and correct, or an error that says why not."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer_core.errors import DownloadCancelled, DownloadError
from trainer_core.models.downloads.http import PATIENT, Answer, Asked, Patience, get, keep_trying
from trainer_core.models.downloads.part import Part
from trainer_core.models.downloads.remote import RemoteFile
from trainer_core.models.downloads.web import refuse_page, total_of_range
from trainer_core.text import printable, size

DISK_FLOOR_BYTES = 256 * 1024 * 1024
"""How much disk space a download leaves free: a full disk stops notebooks and trainings."""
_LOOK_AT_DISK_BYTES = 64 * 1024 * 1024

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")


@dataclass(frozen=True)
class Options:
    """The settings of a download: its waiting times, the disk space it leaves free, and the event that stops it."""

    patience: Patience = PATIENT
    disk_floor_bytes: int = DISK_FLOOR_BYTES
    cancel: threading.Event | None = None

    @property
    def is_cancelled(self) -> bool:
        """Whether the user has stopped it."""
        return self.cancel is not None and self.cancel.is_set()


class Transfer:
    """The transfer of one file, over as many connections as needed. `tell` is called with the bytes done and the phase."""

    def __init__(
        self, asked: Asked, file: RemoteFile, part: Part, options: Options, tell: Callable[[int, str], None]
    ) -> None:
        self._asked = asked
        self._file = file
        self._part = part
        self._options = options
        self._tell = tell
        self._name = printable(file.name, 200)
        # Where a site rounds the size, the server's value is used; an earlier call stored it in the note of the part file.
        noted = part.said.get("size", "")
        self._total = file.size_bytes if file.is_size_exact else int(noted) if noted.isdigit() else None

    def run(self) -> None:
        """Fills the part file.

        Raises:
            DownloadError: the file does not arrive, or a different one does. Data that may be correct is kept.
            OSError: the part file cannot be written.
        """
        part = self._part
        for is_last in (False, True):
            was_here = part.size_bytes > 0
            keep_trying(self._attempt, self._options.patience, self._options.cancel, lambda: part.size_bytes)
            if not self._file.sha256:
                return
            found = part.sha256(self._options.cancel, lambda done: self._tell(done, "checking"))
            if found == self._file.sha256:
                return
            # The part may consist of two different files, so a continued download is fetched once more in one piece.
            if is_last or not (was_here or part.was_continued):
                part.discard()
                message = f"{self._name} is not the file that was published: its SHA-256 is {found[:12]}…"
                message += f" and should be {self._file.sha256[:12]}…"
                raise DownloadError(message, "Try again; if it happens again, do not use this source.", "hash")
            part.restart({})

    def _attempt(self) -> None:
        part = self._part
        if self._options.is_cancelled:
            raise DownloadCancelled
        if part.size_bytes and part.size_bytes == self._total:
            return
        if part.size_bytes and not (part.said.get("validator") or self._file.sha256):
            # Without a validator or a hash, the rest might belong to a different file.
            part.restart({})
        check_disk(part.path.parent, self._missing_bytes(), self._options.disk_floor_bytes, self._name)
        with get(self._asked, self._range(), self._options.patience) as answer:
            if answer.status == 416:
                self._nothing_more(answer)
                return
            refuse_page(answer, self._name)
            if answer.status == 206:
                self._go_on(answer)
            else:
                self._begin(answer)
            self._receive(answer)
        if self._total is not None and part.size_bytes < self._total:
            raise DownloadError(
                f"The connection was lost while {self._name} was being downloaded.",
                "Start it again to continue where it stopped.",
                "broken",
            )

    def _missing_bytes(self) -> int | None:
        size = self._total or self._file.size_bytes
        return None if size is None else max(0, size - self._part.size_bytes)

    def _range(self) -> dict[str, str]:
        part = self._part
        if not part.size_bytes:
            return {}
        validator = part.said.get("validator")
        return {"Range": f"bytes={part.size_bytes}-", **({"If-Range": validator} if validator else {})}

    def _begin(self, answer: Answer) -> None:
        """Prepares for the whole file, from its start."""
        self._total = self._agreed(answer.length_bytes)
        self._part.restart(_said(answer, self._total))

    def _go_on(self, answer: Answer) -> None:
        """Prepares for the rest of the file. If the server sends something else, the part file is emptied."""
        part = self._part
        found = _CONTENT_RANGE.fullmatch(answer.header("content-range").strip())
        is_next = found is not None and int(found.group(1)) == part.size_bytes
        noted = part.said.get("validator", "")
        is_same = noted in {"", _validator(answer)}
        total = total_of_range(answer.header("content-range"))
        if not is_next or not is_same or (self._total is not None and total not in {None, self._total}):
            part.restart({})
            if not self._file.is_size_exact:
                self._total = None
            raise DownloadError(
                f"The server sent a different part of {self._name} than requested.", "Try again.", "broken"
            )
        self._total = total if self._total is None else self._total
        part.was_continued = True

    def _nothing_more(self, answer: Answer) -> None:
        """Handles status 416: the part file is either complete, or belongs to a different file."""
        total = total_of_range(answer.header("content-range"))
        if self._part.size_bytes and total == self._part.size_bytes and self._total in {None, total}:
            self._total = total
            return
        self._part.restart({})
        raise DownloadError(f"The server does not continue {self._name}.", "Try again.", "broken")

    def _agreed(self, length: int | None) -> int | None:
        """The size of the file in bytes; None when unknown. Raises when the site and the server disagree."""
        expected = self._file.size_bytes if self._file.is_size_exact else None
        if expected is not None and length is not None and length != expected:
            raise DownloadError(
                f"{self._name} should have {expected} bytes, but its server sends {length}.",
                "It may just have been replaced: try again, or look for another link.",
                "length",
            )
        return expected if length is None else length

    def _receive(self, answer: Answer) -> None:
        part, looked = self._part, self._part.size_bytes
        self._tell(part.size_bytes, "downloading")
        for chunk in answer.chunks():
            if self._total is not None and part.size_bytes + len(chunk) > self._total:
                part.discard()
                message = f"The server sends more data than {self._name} should have."
                raise DownloadError(message, "Try again, or look for another link.", "length")
            part.write(chunk)
            self._tell(part.size_bytes, "downloading")
            if self._options.is_cancelled:
                raise DownloadCancelled
            if part.size_bytes - looked >= _LOOK_AT_DISK_BYTES:
                looked = part.size_bytes
                check_disk(part.path.parent, self._missing_bytes(), self._options.disk_floor_bytes, self._name)


def check_disk(folder: Path, needed_bytes: int | None, floor_bytes: int, name: str) -> None:
    """Checks that a download fits on the disk of a folder and leaves `floor_bytes` free.

    Raises:
        DownloadError: it does not fit.
        OSError: the folder does not exist.
    """
    free = shutil.disk_usage(folder).free
    if free >= (needed_bytes or 0) + floor_bytes:
        return
    asks = f"needs {_size(needed_bytes)} more" if needed_bytes else "has an unknown size"
    message = f"The disk is too full: {name} {asks}, and {_size(free)} are free in {printable(str(folder), 300)}."
    hint = f"Free some space or choose another folder; Easel leaves {_size(floor_bytes)} free."
    raise DownloadError(message, hint, "disk")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.0f} MiB" if 10 << 20 <= size_bytes < 1 << 30 else size(size_bytes)


def _said(answer: Answer, total: int | None) -> dict[str, str]:
    """What the note of the part file stores about the file that starts to arrive."""
    return {"validator": _validator(answer), "size": "" if total is None else str(total)}


def _validator(answer: Answer) -> str:
    """The value for If-Range: a strong ETag, else the date of the last change (RFC 9110, 13.1.5); "" without either."""
    etag = answer.header("etag")
    return etag if etag.startswith('"') else answer.header("last-modified")
