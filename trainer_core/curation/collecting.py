"""Copies what comes from files, folders and archives to a folder where it waits. The sources are not changed."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from trainer_core import places
from trainer_core.curation import archives
from trainer_core.curation.pairing import Arrived
from trainer_core.curation.unpacking import IMAGES, NEITHER, START_BYTES, TABLES, TEXTS, Going, Limits, doubt
from trainer_core.datasets import images, listing
from trainer_core.errors import DatasetError
from trainer_core.text import printable


@dataclass
class Collector:
    """Copies sources to `waiting`, a new folder; `left_out` is what was not taken, as (name, reason)."""

    root: Path
    waiting: Path
    limits: Limits
    going: Going
    left_out: list[tuple[str, str]] = field(default_factory=list)
    _scratch: int = 0

    def all_of(self, sources: Sequence[Path]) -> list[Arrived]:
        """The files of all sources.

        Raises:
            DatasetError: a source cannot be read, or an archive is not safe.
            OSError: a file cannot be written.
        """
        found: list[Arrived] = []
        groups: dict[Path, int] = {}
        for number, source in enumerate(sources):
            # Single files of one folder belong together: an image and its caption.
            is_single = source.is_file() and not archives.is_archive(source)
            group = groups.setdefault(source.parent, number) if is_single else number
            found += [
                Arrived(place, PurePosixPath(unicodedata.normalize("NFC", path.as_posix())), group)
                for place, path in self._one(source, self.waiting / str(number))
            ]
        return found

    def scratch(self) -> Path:
        """The path for another file that waits."""
        self._scratch += 1
        folder = self.waiting / "made"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / str(self._scratch)

    def _one(self, source: Path, waiting: Path) -> Iterator[tuple[Path, PurePosixPath]]:
        if archives.is_archive(source):
            unpacked = archives.unpack(source, waiting, self.limits, self.going)
            self.left_out += unpacked.left_out
            yield from ((waiting / place, name) for place, name in unpacked.files)
            return
        named = self._files(source)
        waiting.mkdir(parents=True)
        for number, (path, name) in enumerate(named):
            if any(part.startswith(".") for part in name.parts):
                continue
            if name.suffix.casefold() not in IMAGES | TEXTS | TABLES:
                self.left_out.append((printable(str(name), 200), NEITHER))
                continue
            if _leads_out(path, source):
                self.left_out.append((printable(str(name), 200), "it is a link that leads out of the folder"))
                continue
            if reason := _doubt(path, name):
                self.left_out.append((printable(str(name), 200), reason))
                continue
            place = waiting / str(number)
            try:
                shutil.copy2(path, place)
            except PermissionError:
                self.left_out.append((printable(str(name), 200), "it cannot be read: no permission"))
                continue
            yield place, name
            self.going.at(number + 1, len(named))

    def _files(self, source: Path) -> list[tuple[Path, PurePosixPath]]:
        """The files of a source, and their paths inside of it."""
        if source.is_dir():
            if places.real(source) == places.real(self.root):
                raise DatasetError("The folder is the dataset itself.", "Choose another folder.")
            whole = [path for path in listing.list_files(source, follows_links=False).files if path.is_file()]
            return [(path, PurePosixPath(path.relative_to(source).as_posix())) for path in whole]
        if source.is_file():
            return [(source, PurePosixPath(source.name))]
        raise DatasetError(f"There is no file {printable(str(source), 200)}.")


def _doubt(path: Path, name: PurePosixPath) -> str:
    """Why a file is not copied, from its size and its first bytes; "" if it is."""
    try:
        length = path.stat().st_size
        with path.open("rb") as file:
            return doubt(name, length, file.read(START_BYTES))
    except OSError:
        return ""  # to copy it says why


def _leads_out(path: Path, source: Path) -> bool:
    """Whether a text is a link out of a folder that may come from anybody: it could be any file of the user, and be published.

    A link to an image is followed, as folders of selected images have them.
    """
    if not path.is_symlink() or not source.is_dir() or places.real(path).is_relative_to(places.real(source)):
        return False
    return path.suffix.casefold() not in IMAGES or not images.starts_like_image(path)
