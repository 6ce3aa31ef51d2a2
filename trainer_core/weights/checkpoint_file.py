"""Writes the zip archive of torch.save: a pickle of the tensors' names and shapes, and the numbers of each beside it.

The pickle contains only what `torch.load(weights_only=True)` allows, and nothing of it comes from a file that was read except
names and metadata as text. Source: torch/serialization.py, _save; torch/_utils.py, _rebuild_tensor_v2 and _rebuild_tensor_v3;
caffe2/serialize/inline_container.cc, PyTorchStreamWriter.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainer_core.errors import WeightsError
from trainer_core.models.header.pickle_names import DTYPES, STORAGES
from trainer_core.models.header.pickles import LONGEST_TEXT
from trainer_core.models.tensor_copy import CHUNK_BYTES
from trainer_core.weights.places import Place
from trainer_core.weights.writing import Entry, Progress, Sink, as_bytes, places_of

ROOT = "archive"
ALIGNMENT_BYTES = 64
"""The alignment of numbers in the archive, which torch needs to map them into memory."""
ENTRY_BYTES, ZIP64_BYTES, PADDING_START = 30, 20, b"FB"
_STORAGE = {dtype: name for name, dtype in STORAGES.items() if not name.endswith("UntypedStorage")}
_TORCH = {dtype: name for name, dtype in DTYPES.items()}
STATE = "state_dict"


def write(sink: Sink, entries: Sequence[Entry], metadata: Mapping[str, str], progress: Progress) -> None:
    """Writes a checkpoint with the tensors under `state_dict`, and the metadata as plain values beside it.

    Raises:
        WeightsError: a tensor has a dtype that torch has not, or not the size that its shape says.
    """
    if unknown := next((entry.dtype for entry in entries if entry.dtype not in _TORCH), ""):
        raise WeightsError(f"A .ckpt file cannot hold weights of the type {unknown}.", "Choose safetensors.")
    stream = _Stream(sink)
    texts = {key: text for key, text in metadata.items() if key != STATE and len(text) <= LONGEST_TEXT}
    total, done = sum(entry.size for entry in entries), 0
    with zipfile.ZipFile(stream, "w") as archive:
        _put(archive, stream, "data.pkl", pickled(entries, texts))
        _put(archive, stream, ".format_version", b"1")
        _put(archive, stream, "byteorder", b"little")
        for whole, entry in enumerate(entries):
            before = done
            with _entry(archive, stream, f"data/{whole}", entry.size) as file:
                for data in _data(entry):
                    file.write(data)
                    done += len(data)
                    progress(whole, len(entries), done, total)
            if done - before != entry.size:
                raise WeightsError(f"A tensor has {done - before} bytes, not {entry.size}.", "Report this.")
        _put(archive, stream, "version", b"3\n")
    progress(len(entries), len(entries), done, total)


def pickled(entries: Sequence[Entry], texts: Mapping[str, str]) -> bytes:
    """The pickle, in protocol 2: a dictionary of the tensors, in a dictionary with the texts."""
    out = io.BytesIO()
    out.write(b"\x80\x02}(")
    out.write(_text(STATE) + b"}")
    # Not too many values on the stack at once.
    for batch in _batches(entries):
        out.write(b"(")
        for key, entry in batch:
            out.write(_text(entry.name) + _tensor(str(key), entry))
        out.write(b"u")
    for name, text in texts.items():
        out.write(_text(name) + _text(text))
    out.write(b"u.")
    return out.getvalue()


def _batches(entries: Sequence[Entry]) -> Iterator[list[tuple[int, Entry]]]:
    numbered = list(enumerate(entries))
    return (numbered[start : start + 1000] for start in range(0, len(numbered), 1000))


def _tensor(key: str, entry: Entry) -> bytes:
    """A call that rebuilds a tensor in a storage of its own."""
    count = math.prod(entry.shape)
    strides = [math.prod(entry.shape[place + 1 :]) for place in range(len(entry.shape))]
    name = _STORAGE.get(entry.dtype)
    function = "_rebuild_tensor_v2" if name else "_rebuild_tensor_v3"
    storage = _global("torch", name) if name else _global("torch.storage", "UntypedStorage")
    held = (
        b"(" + _text("storage") + storage + _text(key) + _text("cpu") + _integer(count if name else entry.size) + b"tQ"
    )
    more = b"" if name else _global("torch", _TORCH[entry.dtype])
    hooks = _global("collections", "OrderedDict") + b")R"
    shape = _tuple(entry.shape) + _tuple(strides)
    return _global("torch._utils", function) + b"(" + held + _integer(0) + shape + b"\x89" + hooks + more + b"tR"


def _tuple(values: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(_integer, values)) + b"t"


def _integer(value: int) -> bytes:
    if value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + struct.pack("<q", value)


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def _global(module: str, name: str | None) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _data(entry: Entry) -> Iterator[memoryview]:
    """The bytes of a tensor: read, because the archive has a checksum of them."""
    if callable(entry.source):
        yield from as_bytes(entry.source())
        return
    for place in places_of(entry.source):
        yield from map(memoryview, _read(place))


def _read(place: Place) -> Iterator[bytes]:
    file = os.open(place.path, os.O_RDONLY)
    try:
        start, left = place.start, place.size
        while left:
            data = os.pread(file, min(left, CHUNK_BYTES), start)
            if not data:
                raise WeightsError(f"{place.path.name} is cut short.", "Download it again.")
            start, left = start + len(data), left - len(data)
            yield data
    finally:
        os.close(file)


def _put(archive: zipfile.ZipFile, stream: _Stream, name: str, content: bytes) -> None:
    with _entry(archive, stream, name, len(content)) as file:
        file.write(content)


def _entry(archive: zipfile.ZipFile, stream: _Stream, name: str, size: int) -> Any:
    """An entry of the archive, whose content begins at a multiple of 64 bytes."""
    info = zipfile.ZipInfo(f"{ROOT}/{name}")
    info.file_size = size
    is_large = size >= zipfile.ZIP64_LIMIT // 2
    start = stream.position + ENTRY_BYTES + len(info.filename) + (ZIP64_BYTES if is_large else 0) + 4
    padding = -start % ALIGNMENT_BYTES
    info.extra = PADDING_START + struct.pack("<H", padding) + b"Z" * padding
    return archive.open(info, "w", force_zip64=is_large)


class _Stream:
    """A sink as a file that can only be written forwards, so that checksums follow the content."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.position = 0

    def write(self, data: bytes | memoryview) -> int:
        """Appends bytes."""
        view = memoryview(data)
        self._sink.write(view)
        self.position += view.nbytes
        return view.nbytes

    def flush(self) -> None:
        """Does nothing: nothing waits here."""

    def close(self) -> None:
        """Does nothing: the sink belongs to the caller."""
