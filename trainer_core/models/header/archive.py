"""Reads the pickle in the zip archive that torch.save writes, and checks the size and position of every entry.

Source: PKWARE APPNOTE 6.3.10; pytorch, caffe2/serialize/inline_container.cc.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import BinaryIO

from trainer_core.errors import HeaderError
from trainer_core.text import printable

LARGEST_PICKLE_BYTES = 64_000_000
LONGEST_LIST_BYTES = 8_000_000
"""The largest list of entries that is read: about 100,000 entries."""
END_BYTES = 22 + 20 + 56
ENTRY_BYTES = 30
"""The size of the fixed part of an entry's header, before its name."""
IS_ENCRYPTED = 1
IS_LINK = 0xA
BAD = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, NotImplementedError, RuntimeError, EOFError, KeyError)
"""The exceptions that `zipfile` raises for a damaged archive."""


def read(name: str, file: BinaryIO, size_bytes: int) -> tuple[bytes, Mapping[str, zipfile.ZipInfo]]:
    """The pickle in a torch archive, and the entry of each storage in it, by key.

    Raises:
        HeaderError: it is cut short, damaged, malicious, or not an archive that torch.save writes.
        OSError: the stream cannot be read.
    """
    _check_end(name, file, size_bytes)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            entry = _data_entry(name, entries)
            _check_places(name, entries, archive.start_dir)
            with archive.open(entry) as stream:
                data = stream.read(LARGEST_PICKLE_BYTES + 1)
    except BAD as error:
        raise HeaderError(f"{name} is damaged: its zip archive cannot be read.", "Download it again.") from error
    if len(data) != entry.file_size:
        raise HeaderError(f"{name} is damaged: its archive lists another size for its pickle.", "Download it again.")
    folder = entry.filename.removesuffix("data.pkl") + "data/"
    return data, {each.filename.removeprefix(folder): each for each in entries if each.filename.startswith(folder)}


def _check_end(name: str, file: BinaryIO, size_bytes: int) -> None:
    """Refuses an archive without an end, or with a list of entries larger than any model's, before the list is read."""
    file.seek(max(0, size_bytes - END_BYTES))
    end = file.read(END_BYTES)
    if end[-22:-18] != b"PK\x05\x06" or end[-2:] != b"\0\0":
        raise HeaderError(f"{name} is cut short: the end of its zip archive is missing.", "Download it again.")
    (list_bytes,) = struct.unpack("<I", end[-10:-6])
    if end[-42:-38] == b"PK\x06\x07" and end[:4] == b"PK\x06\x06":
        (list_bytes,) = struct.unpack("<Q", end[40:48])
    if list_bytes > min(LONGEST_LIST_BYTES, size_bytes):
        raise HeaderError(f"{name} is damaged: it lists more files than any model has.", "Download it again.")


def _data_entry(name: str, entries: list[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    """The entry with the pickle, `<archive>/data.pkl`. An archive has exactly one."""
    names = {entry.filename for entry in entries}
    if any(each.partition("/")[2] in ("constants.pkl", "code/__torch__.py") for each in names):
        raise HeaderError(f"{name} is a TorchScript program, not a model's weights.", "Choose it as safetensors.")
    found = [entry for entry in entries if entry.filename.partition("/")[2] == "data.pkl"]
    if not found:
        example = next((printable(each, 80) for each in sorted(names)), "nothing")
        raise HeaderError(
            f"{name} is a zip archive with {example}, not a PyTorch model.",
            "Unpack it first, and choose the model inside.",
        )
    if len(found) > 1:
        raise HeaderError(
            f"{name} contains {len(found)} pickles, and a model has one.", "Choose the model as safetensors."
        )
    entry = found[0]
    if entry.flag_bits & IS_ENCRYPTED:
        raise HeaderError(f"{name} is encrypted.", "Choose the model as safetensors.")
    if entry.external_attr >> 28 == IS_LINK:
        raise HeaderError(f"{name} contains a link instead of a pickle.", "Choose the model as safetensors.")
    if entry.file_size > LARGEST_PICKLE_BYTES:
        raise HeaderError(
            f"{name} is damaged: its pickle is listed with {entry.file_size} bytes.", "Download it again."
        )
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise HeaderError(
            f"{name} is compressed in a way that PyTorch does not read.", "Choose the model as safetensors."
        )
    return entry


def _check_places(name: str, entries: list[zipfile.ZipInfo], end: int) -> None:
    """Refuses an archive with overlapping entries: a small file could then unpack to any size."""
    position = 0
    for entry in sorted(entries, key=lambda each: each.header_offset):
        if entry.header_offset < position:
            raise HeaderError(f"{name} is damaged: files in its archive overlap.", "Download it again.")
        position = entry.header_offset + ENTRY_BYTES + entry.compress_size
    if position > end:
        raise HeaderError(f"{name} is damaged: files in its archive overlap.", "Download it again.")
