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
from trainer_core.keeping import bounds, carrying, names
from trainer_core.keeping.bounds import Spot
from trainer_core.keeping.carrying import Going
from trainer_core.text import printable, size

MOST_ENTRIES = 200_000
MOST_RATIO = 200
"""How much larger than packed a file may be; images and weights hardly get smaller."""
_SMALL_BYTES = 16 << 20
_READ_BYTES = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Unpacked:
    """The folder that was made, how many files are in it, and the entries that were left out, as (name, reason)."""

    spot: Spot
    files: int
    size_bytes: int
    left_out: tuple[tuple[str, str], ...]


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
            files, total, left_out = _all(found, scratch, going or Going())
        target = names.take(folder / archive.stem, functools.partial(carrying.put, scratch), is_folder=True)
    except _DAMAGED as error:
        raise FilesError(
            f"{printable(spot.name, 200)} cannot be unpacked: {printable(str(error), 100)}.", "Send it again."
        ) from error
    except OSError as error:
        raise FilesError(
            f"{printable(spot.name, 200)} cannot be unpacked: {error.strerror or error}.", "Free some space."
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Unpacked(spot.parent.child(target.name), files, total, tuple(left_out))


def _all(found: zipfile.ZipFile, scratch: Path, going: Going) -> tuple[int, int, list[tuple[str, str]]]:
    entries = [each for each in found.infolist() if not each.filename.endswith("/")]
    if len(entries) > MOST_ENTRIES:
        raise FilesError(f"The zip has {len(entries):,} files; {MOST_ENTRIES:,} are the most.", "")
    if any(each.flag_bits & 1 for each in entries):
        raise FilesError("The zip is encrypted.", "Unpack it with its password, and send the files.")
    said = sum(each.file_size for each in entries)
    carrying.check_room(scratch.parent, said)
    going.total, left_out = said, []
    chosen: list[tuple[zipfile.ZipInfo, PurePosixPath]] = []
    for each in entries:
        raw = each.filename if each.flag_bits & 0x800 else incoming_names.decoded(each.filename)
        path = names.arriving(raw)
        if path is None:
            left_out.append((printable(raw, 200), "it is a hidden file, or its name leads out of the folder"))
        elif stat.S_IFMT(each.external_attr >> 16) not in (0, stat.S_IFREG):
            left_out.append((printable(raw, 200), "it is a link or a device, not a file"))
        else:
            chosen.append((each, path))
    depth = incoming_names.around([path for _, path in chosen])
    given = incoming_names.Names()
    scratch.mkdir()
    for each, path in chosen:
        _one(found, each, scratch / given.of(PurePosixPath(*path.parts[depth:])), going, said)
    return len(chosen), going.done, left_out


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
