"""Unpacks a zip of images that may come from anybody into a new folder, within limits, and says what it left out.

Names lead nowhere else, links and programs are left out, and sizes are counted while they are written: what an archive says
about itself is not trusted. Source of the cases: Python's zipfile, run on archives of each kind.
"""

from __future__ import annotations

import contextlib
import shutil
import stat
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainer_core.datasets.captions import LARGEST_CAPTION_BYTES
from trainer_core.errors import DatasetError
from trainer_core.text import printable

IMAGES = frozenset({".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".jxl", ".png", ".tif", ".tiff", ".webp"})  # fmt: skip
"""File extensions of images, in lower case."""
TEXTS = frozenset({".txt", ".caption", ".tags", ".cap"})
"""File extensions of captions, in lower case."""
TABLES = frozenset({".json", ".jsonl", ".csv", ".toml"})
_READ_BYTES = 1 << 20
_SKIPPED = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir"})
_LONGEST_NAME_BYTES = 200


@dataclass(frozen=True)
class Limits:
    """What an archive may contain: entries, bytes of one file and of all, and how much a file may be larger than packed."""

    entries: int = 100_000
    file_bytes: int = 1 << 30
    total_bytes: int = 64 << 30
    ratio: int = 200


USUAL = Limits()


@dataclass(frozen=True)
class Unpacked:
    """The files that were written, relative to the folder, and those that were left out, as (name, reason)."""

    files: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]


def unpack(
    archive: Path, folder: Path, limits: Limits = USUAL, went_on: Callable[[int, int], None] = lambda _, __: None
) -> Unpacked:
    """Unpacks a zip into `folder`, which must not exist. `went_on` gets the entries that were read, and how many there are.

    Raises:
        DatasetError: it is no zip, is damaged or encrypted, exceeds a limit, or the disk is full; the folder is removed then.
    """
    is_done = False
    try:
        with zipfile.ZipFile(archive) as found:
            entries = [entry for entry in found.infolist() if not entry.is_dir()]
            _check(entries, folder.parent, limits)
            folder.mkdir(parents=True)
            unpacked = _Unpacking(found, folder, limits).all_of(entries, went_on)
        is_done = True
    except zipfile.BadZipFile as error:
        raise DatasetError(
            f"{printable(archive.name, 100)} is not a whole zip file.", "Download or make it again."
        ) from error
    except (zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DatasetError(
            f"{printable(archive.name, 100)} cannot be unpacked: {printable(str(error), 100)}.",
            "Unpack it with another program, and choose the folder.",
        ) from error
    except OSError as error:
        raise DatasetError(f"{printable(archive.name, 100)} cannot be unpacked: {error.strerror or error}.") from error
    finally:
        if not is_done:
            shutil.rmtree(folder, ignore_errors=True)
    return unpacked


def _check(entries: list[zipfile.ZipInfo], place: Path, limits: Limits) -> None:
    """Refuses what can be refused before anything is written."""
    if len(entries) > limits.entries:
        raise DatasetError(f"The zip has {len(entries):,} entries; {limits.entries:,} are the most.")
    if any(entry.flag_bits & 1 for entry in entries):
        raise DatasetError("The zip is encrypted.", "Unpack it with its password, and choose the folder.")
    said = sum(entry.file_size for entry in entries)
    if said > limits.total_bytes:
        raise DatasetError(f"The zip contains {said >> 30:,} GB; {limits.total_bytes >> 30:,} GB are the most.")
    with contextlib.suppress(OSError):
        if said > (free := shutil.disk_usage(_there(place)).free):
            raise DatasetError(
                f"The zip needs {said / (1 << 30):.1f} GB, and {free / (1 << 30):.1f} GB are free.", "Free some space."
            )


def _there(folder: Path) -> Path:
    """The nearest folder above that exists."""
    return next((one for one in (folder, *folder.parents) if one.is_dir()), Path("/"))


class _Unpacking:
    """Writes the entries of one archive."""

    def __init__(self, archive: zipfile.ZipFile, folder: Path, limits: Limits) -> None:
        self.archive, self.folder, self.limits = archive, folder, limits
        self.files: list[str] = []
        self.left_out: list[tuple[str, str]] = []
        self.total = 0
        self._names = Names()

    def all_of(self, entries: list[zipfile.ZipInfo], went_on: Callable[[int, int], None]) -> Unpacked:
        """Writes all entries. A folder around all of them is left away."""
        named = [(entry, _name(entry)) for entry in entries]
        plain = [(entry, path) for entry, path in named if path is not None and not _is_skipped(path)]
        around = _around([path for _, path in plain])
        for number, (entry, path) in enumerate(named):
            if path is None:
                self.left_out.append((printable(entry.filename, 200), "its name leads out of the folder"))
            elif not _is_skipped(path):
                self._one(entry, PurePosixPath(*path.parts[around:]))
            went_on(number + 1, len(named))
        return Unpacked(tuple(self.files), tuple(self.left_out))

    def _one(self, entry: zipfile.ZipInfo, path: PurePosixPath) -> None:
        reason = _refusal(entry, path)
        if reason:
            self.left_out.append((printable(str(path), 200), reason))
            return
        name = self._names.of(path)
        place = self.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with self.archive.open(entry) as source, place.open("xb") as file:
            for block in _blocks(source, entry, self.limits):
                self.total += len(block)
                if self.total > self.limits.total_bytes:
                    raise DatasetError(f"The zip contains more than {self.limits.total_bytes >> 30:,} GB.")
                file.write(block)
        self.files.append(name.as_posix())


def _blocks(source: object, entry: zipfile.ZipInfo, limits: Limits) -> Iterator[bytes]:
    """The content of an entry.

    Raises:
        DatasetError: it is larger than allowed, or grows as only a file does that was made to fill a disk.
    """
    size = 0
    while block := source.read(_READ_BYTES):  # type: ignore[attr-defined]
        size += len(block)
        is_bomb = size > 4 * _READ_BYTES and size > limits.ratio * max(1, entry.compress_size)
        if size > limits.file_bytes or is_bomb:
            raise DatasetError(
                f"{printable(entry.filename, 100)} in the zip is larger than an image can be, so it was not unpacked."
            )
        yield block


def _name(entry: zipfile.ZipInfo) -> PurePosixPath | None:
    """The path of an entry inside of the folder; None if it leads out of it."""
    name = entry.filename
    if not entry.flag_bits & 0x800:
        name = _decoded(name)
    name = unicodedata.normalize("NFC", name.replace("\\", "/"))
    name = "".join(sign if unicodedata.category(sign)[0] != "C" and sign not in ':*?"<>|' else "_" for sign in name)
    parts = [part.strip() for part in name.split("/")]
    if name.startswith("/") or ".." in parts or (len(entry.filename) > 1 and entry.filename[1] == ":"):
        return None
    parts = [_short(part) for part in parts if part not in ("", ".")]
    return PurePosixPath(*parts) if parts else None


def _short(part: str) -> str:
    """A name that a file system takes, with its extension."""
    path = PurePosixPath(part)
    room = _LONGEST_NAME_BYTES - len(path.suffix.encode())
    stem = path.stem.encode()[: max(1, room)].decode("utf-8", "ignore")
    return f"{stem}{path.suffix}" if len(part.encode()) > _LONGEST_NAME_BYTES else part


def _decoded(name: str) -> str:
    """A name that does not say its encoding: zipfile reads it as cp437, and it is more often UTF-8, Japanese or Chinese."""
    try:
        data = name.encode("cp437")
    except UnicodeEncodeError:
        return name
    if data.isascii():
        return name
    for encoding in ("utf-8", "cp932", "gbk"):
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode(encoding)
    return name


def _is_skipped(path: PurePosixPath) -> bool:
    """Whether it is a file that a system added: nobody misses it."""
    return any(part.startswith(".") or part.casefold() in _SKIPPED for part in path.parts)


def _around(paths: list[PurePosixPath]) -> int:
    """How many folders stand around all files."""
    heads = Counter(path.parts[0] for path in paths if len(path.parts) > 1)
    if len(heads) != 1 or sum(heads.values()) != len(paths):
        return 0
    return 1 + _around([PurePosixPath(*path.parts[1:]) for path in paths])


def _refusal(entry: zipfile.ZipInfo, path: PurePosixPath) -> str:
    """Why an entry is left out; "" if it is not."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return "it is a link or a device, not a file"
    ending = path.suffix.casefold()
    if ending in TEXTS and entry.file_size > LARGEST_CAPTION_BYTES:
        return "it is too long for a caption"
    if ending not in IMAGES | TEXTS | TABLES:
        return "it is neither an image nor a caption"
    return ""


class Names:
    """Gives each file a name that no other has, also in other case. Files of one stem, an image and its caption, stay together."""

    def __init__(self, taken: Collection[str] = ()) -> None:
        self._taken = {one.casefold() for one in taken}
        self._folded = {PurePosixPath(one).with_suffix("").as_posix().casefold() for one in taken}
        self._given: dict[tuple[int, str], str] = {}

    def of(self, path: PurePosixPath, source: int = 0) -> PurePosixPath:
        """The name of the file with this path; files of different sources do not belong together."""
        stem = path.with_suffix("").as_posix()
        given = self._given.get((source, stem))
        if given is None:
            given = _numbered(stem, self._folded)
            self._given[source, stem] = given
            self._folded.add(given.casefold())
        found = f"{given}{path.suffix}"
        if found.casefold() in self._taken:
            # The same path twice.
            found = f"{_numbered(given, self._folded)}{path.suffix}"
            self._folded.add(found.removesuffix(path.suffix).casefold())
        self._taken.add(found.casefold())
        return PurePosixPath(found)


def _numbered(stem: str, folded: Collection[str]) -> str:
    found, number = stem, 2
    while found.casefold() in folded:
        found, number = f"{stem}-{number}", number + 1
    return found


def is_zip(path: Path) -> bool:
    """Whether a file is a zip, by its content."""
    with contextlib.suppress(OSError):
        return path.is_file() and zipfile.is_zipfile(path)
    return False
