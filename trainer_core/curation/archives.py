"""Unpacks a zip or a tar of images that may come from anybody into a new folder, within limits, and says what it left out.

Names lead nowhere else, links and programs are left out, and sizes are counted while they are written: what an archive says
about itself is not trusted. Source of the cases: Python's zipfile and tarfile, run on archives of each kind.
"""

from __future__ import annotations

import contextlib
import stat
import zipfile
import zlib
from pathlib import Path

from trainer_core.curation import incoming_names, tars
from trainer_core.curation.incoming_names import Names
from trainer_core.curation.unpacking import (
    IMAGES,
    ON,
    TABLES,
    TEXTS,
    USUAL,
    Going,
    Limits,
    Unpacked,
    Writer,
    check_room,
    refusal,
    whole_or_gone,
)
from trainer_core.errors import DatasetError
from trainer_core.text import printable

__all__ = ["IMAGES", "TABLES", "TEXTS", "USUAL", "Limits", "Names", "Unpacked", "is_archive", "is_zip", "unpack"]

_DAMAGED = (zlib.error, EOFError, NotImplementedError, RuntimeError)


def unpack(archive: Path, folder: Path, limits: Limits = USUAL, going: Going = ON) -> Unpacked:
    """Unpacks a zip or a tar into `folder`, which must not exist. `going` gets the entries that were read, and how many there are.

    Raises:
        DatasetError: it is no archive, is damaged or encrypted, exceeds a limit, or the disk is full; the folder is removed then.
        DatasetCancelled: it was stopped; likewise.
    """
    return tars.unpack(archive, folder, limits, going) if _is_tar(archive) else _unpack_zip(archive, folder, limits, going)  # fmt: skip


def is_zip(path: Path) -> bool:
    """Whether a file is a zip, by its content."""
    with contextlib.suppress(OSError):
        return path.is_file() and zipfile.is_zipfile(path)
    return False


def is_archive(path: Path) -> bool:
    """Whether a file is a zip by content or name, or a tar by its name: then it is unpacked."""
    return path.is_file() and (is_zip(path) or path.suffix.casefold() == ".zip" or tars.has_name(path.name))


def _is_tar(path: Path) -> bool:
    return tars.has_name(path.name) and not is_zip(path)


def _unpack_zip(archive: Path, folder: Path, limits: Limits, going: Going) -> Unpacked:
    with whole_or_gone(archive, folder, _DAMAGED):
        try:
            with zipfile.ZipFile(archive) as found:
                # The module's own is_dir fails at an empty name, which one that starts with a zero byte becomes.
                entries = [entry for entry in found.infolist() if not entry.filename.endswith("/")]
                _check(entries, folder.parent, limits)
                folder.mkdir(parents=True)
                writer = Writer(folder, limits, "zip", going)
                for number, entry in enumerate(entries):
                    _one(found, entry, writer)
                    going.at(number + 1, len(entries))
        except zipfile.BadZipFile as error:
            raise DatasetError(
                f"{printable(archive.name, 100)} is not a whole zip file.", "Download or make it again."
            ) from error
    return writer.done()


def _one(found: zipfile.ZipFile, entry: zipfile.ZipInfo, writer: Writer) -> None:
    name = entry.filename if entry.flag_bits & 0x800 else incoming_names.decoded(entry.filename)
    if (path := writer.path(name)) is None:
        return
    is_file = stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG)
    if reason := refusal(path, entry.file_size, is_file=is_file):
        writer.refuse(path, reason)
        return
    with found.open(entry) as stream:
        writer.write(path, stream, entry.compress_size)


def _check(entries: list[zipfile.ZipInfo], place: Path, limits: Limits) -> None:
    """Refuses what can be refused before anything is written."""
    if len(entries) > limits.entries:
        raise DatasetError(f"The zip has {len(entries):,} entries; {limits.entries:,} are the most.")
    if any(entry.flag_bits & 1 for entry in entries):
        raise DatasetError("The zip is encrypted.", "Unpack it with its password, and choose the folder.")
    check_room("zip", sum(entry.file_size for entry in entries), place, limits)
