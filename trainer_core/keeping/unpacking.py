"""Unpacks a zip that may come from anybody into a new folder beside it, within limits.

Names lead nowhere else, links and hidden files are left out, and sizes are counted while they are written: what an archive says about
itself is not trusted. The folder gets its name when everything is in it.
"""

from __future__ import annotations

import functools
import shutil
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainer_core.curation import incoming_names
from trainer_core.errors import FilesError
from trainer_core.keeping import bounds, carrying, names, refusals
from trainer_core.keeping.bounds import Spot
from trainer_core.keeping.carrying import Going
from trainer_core.text import printable, size

MOST_ENTRIES = 200_000
MOST_RATIO = 200
"""How much larger than packed a file may be; images and weights hardly get smaller."""
MOST_NOTES = 25
_SMALL_BYTES = 16 << 20
_READ_BYTES = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Unpacked:
    """The folder that was made, how many files are in it, and the entries that were left out, as (name, reason).

    `renamed` are those that got another name, as (name, what was changed).
    """

    spot: Spot
    files: int
    size_bytes: int
    left_out: tuple[tuple[str, str], ...]
    renamed: tuple[tuple[str, str], ...] = ()

    @property
    def told(self) -> str:
        """What was made, as a sentence, such as "Unpacked 3 files into models/set. 2 were left out."."""
        left, new = len(self.left_out), len(self.renamed)
        return " ".join(
            filter(
                None,
                (
                    f"Unpacked {self.files:,} {'file' if self.files == 1 else 'files'} into {self.spot.text}.",
                    f"{left:,} {'was' if left == 1 else 'were'} left out." if left else "",
                    f"{new:,} got {'another name' if new == 1 else 'other names'}." if new else "",
                ),
            )
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Each entry that was left out or got another name, with the reason: "a/.ssh/key: it is in a hidden folder …"."""
        lines = [f"{printable(name, 90)}: {reason}." for name, reason in self.left_out]
        lines += [f"{printable(name, 90)}: {what}" for name, what in self.renamed]
        if len(lines) <= MOST_NOTES:
            return tuple(lines)
        return (*lines[:MOST_NOTES], f"{len(lines) - MOST_NOTES:,} more are not listed here.")


@dataclass(frozen=True)
class _Written:
    files: int
    size_bytes: int
    left_out: list[tuple[str, str]]
    renamed: list[tuple[str, str]]


def is_zip(spot: Spot) -> bool:
    """Whether a file is a zip, by its name and its content; a model file of torch is one by its content only.

    Raises:
        FilesError: it lies outside.
    """
    path = bounds.entered(spot)
    try:
        return path.suffix.casefold() == ".zip" and path.is_file() and zipfile.is_zipfile(path)
    except OSError:
        return False


def unpack(spot: Spot, going: Going | None = None) -> Unpacked:
    """Unpacks a zip into a new folder beside it, which has its name; the zip stays. One folder around all files is left away.

    Raises:
        FilesError: it is no zip, is damaged, encrypted or too large, or the disk is full. Nothing is left of it.
        FilesStopped: it was stopped; likewise.
    """
    archive = bounds.entered(spot)
    folder = bounds.folder(spot.parent)
    scratch = carrying.scratch_in(folder)
    try:
        with zipfile.ZipFile(archive) as found:
            made = _all(found, scratch, going or Going())
        target = names.take(folder / archive.stem, functools.partial(carrying.put, scratch), is_folder=True)
    except _DAMAGED as error:
        raise FilesError(
            f"{printable(spot.name, 200)} cannot be unpacked: {printable(str(error), 100)}.", "Send it again."
        ) from error
    except OSError as error:
        raise refusals.refusal(spot.name, "unpacked", error, folder) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Unpacked(
        spot.parent.child(target.name), made.files, made.size_bytes, tuple(made.left_out), tuple(made.renamed)
    )


def _all(found: zipfile.ZipFile, scratch: Path, going: Going) -> _Written:
    entries = [each for each in found.infolist() if not each.filename.endswith("/")]
    if len(entries) > MOST_ENTRIES:
        raise FilesError(f"The zip has {len(entries):,} files; {MOST_ENTRIES:,} are the most.", "")
    if any(each.flag_bits & 1 for each in entries):
        raise FilesError("The zip is encrypted.", "Unpack it with its password, and send the files.")
    said = sum(each.file_size for each in entries)
    carrying.check_room(scratch.parent, said)
    going.total = said
    chosen, left_out = _chosen(entries)
    depth = incoming_names.around([path for _, _, path in chosen])
    given, renamed = incoming_names.Names(), []
    scratch.mkdir()
    for each, raw, path in chosen:
        target = given.of(PurePosixPath(*path.parts[depth:]))
        if what := names.changed(raw, path) or _numbered(path, target):
            renamed.append((printable(raw, 200), what))
        _one(found, each, scratch / target, going, said)
    return _Written(len(chosen), going.done, left_out, renamed)


def _chosen(
    entries: list[zipfile.ZipInfo],
) -> tuple[list[tuple[zipfile.ZipInfo, str, PurePosixPath]], list[tuple[str, str]]]:
    """The entries that are unpacked, with the names that they have and get; and those that are not, with the reasons."""
    chosen: list[tuple[zipfile.ZipInfo, str, PurePosixPath]] = []
    left_out: list[tuple[str, str]] = []
    for each in entries:
        raw = each.filename if each.flag_bits & 0x800 else incoming_names.decoded(each.filename)
        kind, path = stat.S_IFMT(each.external_attr >> 16), names.arriving(raw)
        if path is not None and kind in (0, stat.S_IFREG):
            chosen.append((each, raw, path))
            continue
        other = "it is a link" if kind == stat.S_IFLNK else "it is a device and not a file"
        left_out.append((printable(raw, 200), names.unfit(raw) or other))
    return chosen, left_out


def _numbered(path: PurePosixPath, target: PurePosixPath) -> str:
    return (
        ""
        if path.name == target.name
        else f"Another file has this name, so it is called {printable(target.name, 200)}."
    )


def _one(found: zipfile.ZipFile, each: zipfile.ZipInfo, target: Path, going: Going, said: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with found.open(each) as packed, target.open("xb") as file:
        while block := packed.read(_READ_BYTES):
            count += len(block)
            if count > _SMALL_BYTES and count > MOST_RATIO * max(1, each.compress_size):
                raise FilesError(
                    f"{printable(target.name, 100)} in the zip grows to more than {size(count)} from {size(each.compress_size)}, as "
                    "only a file does that was made to fill a disk.",
                    "Nothing of the zip was kept.",
                )
            if going.done + len(block) > said + _SMALL_BYTES:
                raise FilesError("The zip contains more than it says, so nothing of it was kept.", "")
            file.write(block)
            going.add(len(block))
