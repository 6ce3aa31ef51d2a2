"""Receives files in pieces, as a page in a browser sends them, straight into the folder where they belong.

A file gets its name when it is complete and its SHA-256 is the one that the page has computed. Until then its pieces are in a
hidden part file beside it, with a record in Easel's home: after a lost connection, a reload of the page or a new kernel, the same
file goes on where it stopped, once the page has shown with a SHA-256 that it is the same file. What is said of a file is not
trusted: its name is made safe, and its bytes are counted as they come.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

from trainer_core.errors import FilesError
from trainer_core.files import write_whole
from trainer_core.keeping import bounds, carrying, names, refusals, trash, unfinished
from trainer_core.keeping.bounds import Spot
from trainer_core.models.downloads.part import Part, hash_of
from trainer_core.text import printable, size

Choice = Literal["both", "replace"]
"""What becomes of a file whose name is taken: both are kept, or the old one goes to the trash."""
LARGEST_PIECE_BYTES = 16 << 20
MOST_FILES = 50_000
LARGEST_FILE_BYTES = 4 << 40
_IDS = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """What is said to one announced file: its id, the spot that it will have, how many of its bytes are here, or why it is refused.

    `is_taken`: there is a file of this name already, so that the user must choose.
    """

    path: str
    id: str = ""
    spot: Spot | None = None
    have: int = 0
    is_taken: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Arrived:
    """A file that is complete: where it is, its size, its SHA-256, and what it has replaced, which is in the trash.

    `renamed` says what was changed in the name that it came with, "" if it has that name.
    """

    spot: Spot
    size_bytes: int
    sha256: str
    replaced: str = ""
    renamed: str = ""


@dataclass
class _File:
    id: str
    spot: Spot
    size: int
    key: str
    have: int = 0
    part: Part | None = None
    whole: bytes | None = None
    renamed: str = ""
    hash: Any = field(default_factory=hashlib.sha256)
    hashed: int = 0
    guard: threading.Lock = field(default_factory=threading.Lock)


class Receiver:
    """Files that arrive in one folder. All methods can be called from several threads; those of one file run one at a time.

    Raises:
        FilesError: nothing can be brought into this folder.
    """

    def __init__(self, where: Spot) -> None:
        bounds.folder(where)
        self.where = where
        self._given: dict[PurePath, str] = {}
        self._files: dict[str, _File] = {}
        self._by_path: dict[str, str] = {}
        self._guard = threading.Lock()

    def announce(self, files: Iterable[Mapping[str, Any]]) -> list[Answer]:
        """What is said to each announced file, in their order: `path`, with the folders inside of what was chosen, and `size` in bytes.

        Raises:
            FilesError: they are too many, or do not fit on the disk.
        """
        rows = list(files)
        if len(rows) > MOST_FILES:
            raise FilesError(
                f"{len(rows):,} files are too many at once.", "Put them into a zip, and let Easel unpack it."
            )
        with self._guard:
            answers = [self._announce(row) for row in rows]
            missing = sum(one.size - one.have for one in self._files.values())
        carrying.check_room(bounds.folder(self.where), missing)
        return answers

    def check(self, name: str) -> tuple[int, str]:
        """How many bytes of a file are here, and their SHA-256: if the page's file begins so too, it is the same file.

        Raises:
            FilesError: the file is not known, or its part cannot be read.
        """
        found = self._known(name)
        with found.guard:
            if found.have:
                self._open(found)
            return found.have, found.hash.hexdigest() if found.have else ""

    def restart(self, name: str) -> None:
        """Throws away what is here of a file: the page's file of this name is another one.

        Raises:
            FilesError: the file is not known, or its part cannot be written.
        """
        found = self._known(name)
        with found.guard:
            if found.have:
                self._open(found)
            if found.part is not None:
                found.part.restart({"size": str(found.size)})
            found.have = found.hashed = 0
            found.hash, found.whole = hashlib.sha256(), None

    def write(self, name: str, offset: int, data: bytes | memoryview) -> int:
        """Takes a piece of a file; returns how many bytes of it are here now, from where the page goes on.

        A piece that was received before is not written twice, and one behind a gap is not taken.

        Raises:
            FilesError: the file is not known or becomes larger than announced, or the disk is full. What is here stays.
        """
        found = self._known(name)
        piece = memoryview(data).cast("B")
        if offset < 0 or len(piece) > LARGEST_PIECE_BYTES:
            raise FilesError(f"A piece of {_named(found)} is larger than {size(LARGEST_PIECE_BYTES)}.", "")
        with found.guard:
            if offset > found.have or offset + len(piece) <= found.have:
                return found.have
            if offset + len(piece) > found.size:
                raise FilesError(f"{_named(found)} is larger than it was announced.", "Choose it again.")
            self._append(found, piece[found.have - offset :])
            return found.have

    def finish(self, name: str, sha256: str = "", choice: Choice = "both") -> Arrived:
        """Gives a complete file its name. `sha256` is the one that the page has computed, "" if it could not.

        Raises:
            FilesError: it is not complete, or another one than the page sent; or what it replaces is needed now.
        """
        found = self._known(name)
        with found.guard:
            if found.have and found.whole is None:
                self._open(found)
            if found.have < found.size:
                raise FilesError(
                    f"{_named(found)} is not complete: {found.have:,} of {found.size:,} bytes are here.", ""
                )
            ours = found.hash.hexdigest()
            if sha256 and sha256.casefold() != ours:
                self._drop(found)
                raise FilesError(
                    f"{_named(found)} was damaged on the way: its SHA-256 is {ours[:12]}… and should be {printable(sha256, 64)[:12]}….",
                    "Nothing of it was kept. Send it again.",
                )
            arrived = self._placed(found, ours, choice)
            self._forget(found)
        return arrived

    def discard(self, name: str) -> None:
        """Removes what is here of a file.

        Raises:
            FilesError: the file is not known.
        """
        found = self._known(name)
        with found.guard:
            if found.have and found.whole is None:
                self._open(found)
            self._drop(found)

    def close(self) -> None:
        """Ends the receiving; what is here of unfinished files stays for the next time."""
        with self._guard:
            files, self._files = list(self._files.values()), {}
            self._by_path.clear()
        for found in files:
            with found.guard:
                if found.part is not None:
                    found.part.__exit__(None, None, None)
                    found.part = None

    # ---- inside ----
    def _known(self, name: str) -> _File:
        with self._guard:
            found = self._files.get(name)
        if found is None:
            raise FilesError("This file is not expected any more.", "Choose it again.")
        return found

    def _announce(self, row: Mapping[str, Any]) -> Answer:
        said, length = row.get("path"), row.get("size")
        if not isinstance(said, str) or type(length) is not int or not 0 <= length <= LARGEST_FILE_BYTES:
            return Answer(printable(str(said), 200), reason="it was announced without a path and a size")
        if (known := self._by_path.get(said)) is not None and self._files[known].size == length:
            found = self._files[known]
            return Answer(said, found.id, found.spot, found.have, _is_taken(found.spot))
        path = names.arriving(said)
        if path is None:
            return Answer(said, reason=names.unfit(said))
        # Two files that came under different names keep different names, also if theirs had to be changed.
        mine = (each for each in names.numbered(path) if self._given.setdefault(each, said) == said)
        spot = Spot(self.where.root, (*self.where.parts, *next(mine).parts))
        try:
            bounds.changeable(spot)
        except FilesError as error:
            return Answer(said, reason=error.message)
        number = str(next(_IDS))
        found = _File(number, spot, length, unfinished.key_of(spot, length), renamed=names.changed(said, path))
        if (kept := unfinished.record(found.key)) is not None and kept.size_bytes == length:
            found.have = min(kept.have, length)
        self._files[number], self._by_path[said] = found, number
        return Answer(said, number, spot, found.have, _is_taken(spot))

    def _open(self, found: _File) -> None:
        """Opens the part file of a file, and takes in what is there."""
        if found.part is None and found.whole is None:
            with _written(found):
                found.part = unfinished.open_part(found.spot, found.key)
                if not found.part.said:
                    found.part.restart({"size": str(found.size)})
                unfinished.remember(found.key, found.spot, found.size, found.part.path)
            found.have = min(found.part.size_bytes, found.size)
            if found.part.size_bytes > found.size:
                found.part.restart({"size": str(found.size)})
                found.have = 0
        if found.part is not None and found.hashed != found.have:
            with _written(found):
                found.hash, found.hashed = hash_of(found.part.path, None, lambda _: None), found.have

    def _append(self, found: _File, piece: memoryview) -> None:
        if found.have == 0 and len(piece) == found.size and found.part is None:
            # A small file comes in one piece, and needs no part file.
            found.whole = bytes(piece)
        else:
            self._open(found)
            if found.part is None or found.part.size_bytes != found.have:
                raise FilesError(f"{_named(found)} was changed by another program meanwhile.", "Choose it again.")
            with _written(found):
                try:
                    found.part.write(bytes(piece))
                except OSError:
                    # On a full disk a part of the piece may have been written.
                    os.truncate(found.part.path, found.have)
                    raise
        found.hash.update(piece)
        found.have += len(piece)
        found.hashed = found.have

    def _placed(self, found: _File, sha256: str, choice: Choice) -> Arrived:
        target = found.spot.path
        with _written(found):
            bounds.make_folders(found.spot)
        replaced = ""
        if choice == "replace" and os.path.lexists(target):
            trash.delete(found.spot)
            replaced = found.spot.name
        with _written(found):
            part = found.part
            scratch = target.with_name(f".easel-{os.getpid()}-{os.urandom(4).hex()}.part")
            if part is None:
                write_whole(scratch, found.whole or b"", durable=True, creates=False)
            path = names.take(target, part.finish if part is not None else functools.partial(carrying.put, scratch))
        return Arrived(found.spot.parent.child(path.name), found.size, sha256, replaced, found.renamed)

    def _drop(self, found: _File) -> None:
        if found.part is not None:
            found.part.discard()
        self._forget(found)

    def _forget(self, found: _File) -> None:
        if found.part is not None:
            found.part.__exit__(None, None, None)
        unfinished.forget(found.key)
        with self._guard:
            self._files.pop(found.id, None)
            self._by_path = {path: name for path, name in self._by_path.items() if name != found.id}


def _is_taken(spot: Spot) -> bool:
    return os.path.lexists(spot.path)


def _named(found: _File) -> str:
    return printable(found.spot.name, 200)


def _written(found: _File) -> AbstractContextManager[None]:
    """A block that writes the file: its errors are sentences."""
    return refusals.storing(found.spot.name, found.spot.path.parent)
