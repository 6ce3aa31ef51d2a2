"""Unpacks the files of a tar, plain or compressed, that may come from anybody, within limits."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from trainer_core import bounded_tar
from trainer_core.curation.unpacking import READ_BYTES, Going, Limits, Unpacked, Writer, refusal, whole_or_gone
from trainer_core.files import open_regular

_OPENERS: Mapping[str, Callable[[IO[bytes]], Any]] = {
    ".tar": lambda file: file,
    ".tar.gz": lambda file: gzip.GzipFile(fileobj=file),
    ".tgz": lambda file: gzip.GzipFile(fileobj=file),
    ".tar.bz2": bz2.BZ2File,
    ".tbz2": bz2.BZ2File,
    ".tar.xz": lzma.LZMAFile,
    ".txz": lzma.LZMAFile,
}
"""How each kind is opened, by the end of its name."""
_SMALL_BYTES = 64 * READ_BYTES


def has_name(name: str) -> bool:
    """Whether a file has the name of a tar that Easel can read."""
    return name.casefold().endswith(tuple(_OPENERS))


def unpack(archive: Path, folder: Path, limits: Limits, going: Going) -> Unpacked:
    """Unpacks a tar into `folder`, which must not exist. `going` gets how far the file was read, in bytes, and its size.

    Raises:
        DatasetError: it is no tar, is damaged, exceeds a limit, or the disk is full; the folder is removed then.
        DatasetCancelled: it was stopped; likewise.
    """
    opener = next(found for end, found in _OPENERS.items() if archive.name.casefold().endswith(end))
    size = archive.stat().st_size
    with whole_or_gone(archive, folder, bounded_tar.DAMAGED), open_regular(archive) as file:
        folder.mkdir(parents=True)
        writer = Writer(folder, limits, "tar", going)
        most = min(limits.total_bytes, max(_SMALL_BYTES, size * limits.ratio))
        for found, entry in bounded_tar.entries(opener(file), most, limits.entries):
            if not entry.isdir():
                _one(found, entry, writer)
            going.at(min(file.tell(), size), size)
    return writer.done()


def _one(found: tarfile.TarFile, entry: tarfile.TarInfo, writer: Writer) -> None:
    if (path := writer.path(entry.name.encode("utf-8", "replace").decode())) is None:
        return
    if reason := refusal(path, entry.size, is_file=bounded_tar.is_file(entry)):
        writer.refuse(path, reason)
        return
    stream = found.extractfile(entry)
    if stream is not None:
        with stream:
            writer.write(path, stream)
