"""Where the numbers of a model's tensors are: bytes of a file, a part of a storage that torch wrote, or blocks of a GGUF file.

Only headers are read, and numpy is not needed.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from trainer_core.errors import WeightsError
from trainer_core.models import header
from trainer_core.models.header import BITS, Header, TensorInfo, archive, pickles
from trainer_core.models.header.files import START_BYTES, read_any, unreadable
from trainer_core.models.header.pickle_names import Strided
from trainer_core.models.header.tensors import BLOCKS, GGML_BLOCKS, shown
from trainer_core.weights.places import Place

COMPUTED = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
"""The quantised types of GGUF whose numbers can be computed."""
LONGEST_TEXT = pickles.LONGEST_TEXT
"""The longest plain value of a pickled model that is read, in characters."""
LARGEST_UNPACKED_BYTES = 1 << 30
"""The largest storage in a compressed archive that is unpacked; it must fit into memory."""


class Spread(NamedTuple):
    """A tensor whose numbers do not follow one another in the file, or are compressed.

    `place` is its storage; `packed` the name of its entry in the archive if that is compressed, else "". `offset` and
    `strides` count numbers.
    """

    place: Place
    packed: str
    offset: int
    strides: tuple[int, ...]


class Quantised(NamedTuple):
    """A tensor whose numbers are computed from blocks of this type."""

    place: Place
    blocks: str


Held = Place | Spread | Quantised


class Opened(NamedTuple):
    """A model's header, its tensors as they will be read, and where each of them is."""

    header: Header
    tensors: Mapping[str, TensorInfo]
    held: Mapping[str, Held]


def find(path: Path | str, *, dequantise: bool = False) -> Opened:
    """Where the numbers of a model's tensors are. With `dequantise`, those of quantised types are computed, as F32.

    Raises:
        HeaderError: it cannot be read, or is no model.
        WeightsError: it has tensors whose numbers cannot be read.
    """
    found = header.read(path)
    held = dict(_held(found))
    tensors: dict[str, TensorInfo] = {}
    quantised = sorted({info.dtype for info in found.tensors.values() if info.dtype in GGML_BLOCKS})
    if quantised and not dequantise:
        raise WeightsError(
            f"{shown(found.path)} has quantised weights ({', '.join(quantised)}): the numbers before were not these.",
            "Use the file from which it was made, or allow that the result is not exact.",
        )
    for name, info in found.tensors.items():
        place = held[name]
        if isinstance(place, Quantised):
            tensors[name] = TensorInfo("F32", info.shape)
        elif info.dtype not in BITS or BITS[info.dtype] % 8:
            raise WeightsError(f"Weights of the type {info.dtype} cannot be read.", "Use a file in fp16, bf16 or fp32.")
        else:
            tensors[name] = info
    return Opened(found, tensors, held)


def _held(found: Header) -> Iterator[tuple[str, Held]]:
    for file in found.files or (found.path,):
        own = read_any(file) if found.format in ("sharded", "diffusers") else found
        for name, place in _in_file(file, own).items():
            full = f"{file.parent.name}/{name}" if found.format == "diffusers" else name
            if full in found.tensors:
                yield full, place


def _in_file(path: Path, found: Header) -> Mapping[str, Held]:
    kind = read_any(path).format if found.format in ("sharded", "diffusers") else found.format
    if kind == "pickle":
        return _in_pickle(path)
    return {name: _plain(path, info) for name, info in found.tensors.items()}


def _plain(path: Path, info: TensorInfo) -> Held:
    place = Place(path, info.start_bytes, info.size_bytes)
    if info.dtype not in GGML_BLOCKS:
        return place
    if info.dtype not in COMPUTED:
        raise WeightsError(
            f"{shown(path)} has weights of the type {info.dtype}, whose numbers Easel cannot compute.",
            f"It can compute {', '.join(COMPUTED)}.",
        )
    return Quantised(place, info.dtype)


def _in_pickle(path: Path) -> Mapping[str, Held]:
    try:
        with path.open("rb") as file:
            size_bytes = file.seek(0, 2)
            file.seek(0)
            found = pickles.read_places(shown(path), file, file.read(START_BYTES), size_bytes)
            starts = dict(found.starts)
            used = {tensor.storage.key for tensor in found.tensors.values()}
            ends = sorted(entry.header_offset for entry in found.entries.values())
            for key, entry in found.entries.items():
                if not entry.compress_type and key in used:
                    file.seek(entry.header_offset)
                    starts[key] = _data_start(path, file.read(archive.ENTRY_BYTES), entry, ends, size_bytes)
    except OSError as error:
        raise unreadable(path, error) from error
    return {name: _in_storage(path, tensor, found, starts) for name, tensor in found.tensors.items()}


def unused_bytes(found: Opened) -> int:
    """How many bytes of numbers a pickled model holds beside its tensors, such as the state of an optimizer.

    The pickle itself, with the names, is not counted, and neither is what the archive needs.

    Raises:
        HeaderError: it cannot be read any more.
    """
    path = found.header.path
    held = sum(info.size_bytes for info in found.tensors.values())
    try:
        with path.open("rb") as file:
            size_bytes = file.seek(0, 2)
            file.seek(0)
            read = pickles.read_places(shown(path), file, file.read(START_BYTES), size_bytes)
    except OSError as error:
        raise unreadable(path, error) from error
    if read.entries:
        stored = sum(entry.file_size for entry in read.entries.values())
    else:
        stored = size_bytes - min(read.starts.values(), default=0)
    return max(stored - held, 0)


def _data_start(path: Path, start: bytes, entry: zipfile.ZipInfo, offsets: list[int], size_bytes: int) -> int:
    """The first byte of an entry's data, after a check that it ends before the next entry begins."""
    # Source: PKWARE APPNOTE 6.3.10, 4.3.7: the local header has its own lengths of the name and of the extra field.
    if len(start) < archive.ENTRY_BYTES or start[:4] != b"PK\x03\x04":
        raise WeightsError(f"{shown(path)} is damaged: a file in its archive has no start.", "Download it again.")
    name, extra = struct.unpack("<HH", start[26:30])
    first = entry.header_offset + archive.ENTRY_BYTES + name + extra
    after = next((offset for offset in offsets if offset > entry.header_offset), size_bytes)
    if first + entry.file_size > after or entry.flag_bits & archive.IS_ENCRYPTED:
        raise WeightsError(f"{shown(path)} is damaged: files in its archive overlap.", "Download it again.")
    return first


def _in_storage(path: Path, tensor: Strided, found: pickles.Pickled, starts: Mapping[str, int]) -> Held:
    storage, info = tensor.storage, tensor.info
    if not storage.size_bytes or not info.size_bytes:
        return Place(path, 0, 0)
    numbers, size_bytes = BLOCKS[info.dtype]
    offset = tensor.offset * size_bytes // numbers
    if storage.key in starts:
        start = starts[storage.key]
        if tensor.is_whole:
            return Place(path, start + offset, info.size_bytes)
        return Spread(Place(path, start, storage.size_bytes), "", tensor.offset, tensor.strides)
    entry = found.entries.get(storage.key)
    if entry is None:
        raise WeightsError(f"{shown(path)} is not a file that torch.save writes.", "Choose it as safetensors.")
    if entry.file_size > LARGEST_UNPACKED_BYTES:
        raise WeightsError(
            f"{shown(path)} is compressed, and a part of it would take {entry.file_size / 1e9:.1f} GB of memory.",
            "Choose the model as safetensors.",
        )
    return Spread(Place(path, 0, entry.file_size), entry.filename, tensor.offset, tensor.strides)
