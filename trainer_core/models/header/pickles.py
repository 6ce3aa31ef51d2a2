"""Reads the header of a pickled model (.ckpt, .pt, .pth, .bin): torch's zip archive, its older stream, or a plain pickle.

`PickleReader` reads the pickle as data; none of it is run. Source: torch/serialization.py, save and _legacy_save.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from trainer_core.errors import HeaderError
from trainer_core.models.header import archive
from trainer_core.models.header.cursor import Cursor
from trainer_core.models.header.pickle_names import Storage, Strided, Thing
from trainer_core.models.header.pickle_reader import PickleReader
from trainer_core.models.header.tensors import TensorInfo
from trainer_core.text import printable

Found = tuple[dict[str, TensorInfo], dict[str, str]]

ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
WRAPPERS = ("state_dict", "model", "params_ema", "params", "module", "model_state_dict", "ema")
"""The keys under which checkpoints store their state dict. The first that contains tensors is used, else the whole value."""
DEEPEST = 8
MOST_VALUES = 200_000
LONGEST_KEY, LONGEST_TEXT = 500, 4096


def matches(start: bytes) -> bool:
    """Whether a file that starts with these bytes is a zip archive or a pickle of protocol 2 or later."""
    return start.startswith(ZIP_STARTS) or (start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"))


@dataclass(frozen=True)
class Pickled:
    """A pickled model: its tensors in their storages, its plain values, and where the storages are.

    `entries` are the entries of the zip archive by the key of the storage; `starts` the first byte of each storage in the file
    of an older stream.
    """

    tensors: Mapping[str, Strided]
    texts: Mapping[str, str]
    entries: Mapping[str, zipfile.ZipInfo]
    starts: Mapping[str, int]


def read(name: str, file: BinaryIO, start: bytes, size_bytes: int) -> Found:
    """The tensors and the plain values of a pickled model, without the positions of the tensors in the file.

    Raises:
        HeaderError: it is damaged, not a model, or uses a name that no model needs.
        OSError: the stream cannot be read.
    """
    found = read_places(name, file, start, size_bytes)
    return {key: tensor.info for key, tensor in found.tensors.items()}, dict(found.texts)


def read_places(name: str, file: BinaryIO, start: bytes, size_bytes: int) -> Pickled:
    """A pickled model with the places of its tensors.

    Raises:
        HeaderError: it is damaged, not a model, or uses a name that no model needs.
        OSError: the stream cannot be read.
    """
    entries: Mapping[str, zipfile.ZipInfo] = {}
    starts: Mapping[str, int] = {}
    if start.startswith(ZIP_STARTS):
        data, entries = archive.read(name, file, size_bytes)
        reader = PickleReader(Cursor(name, io.BytesIO(data), b"", len(data)))
        root = reader.read()
        _check_storages(name, reader.storages, {key: entry.file_size for key, entry in entries.items()})
    else:
        reader = PickleReader(Cursor(name, file, start, size_bytes))
        root = reader.read()
        if type(root) is int and root == LEGACY_MAGIC:
            root, starts = _legacy(name, reader, size_bytes)
    try:
        tensors = _tensors(root)
    except _TooMuchError as error:
        raise reader.damaged("it is nested deeper, or contains more, than any model") from error
    if not tensors:
        raise HeaderError(f"{name} is a pickle without tensors, so it is not a model.")
    return Pickled(tensors, _texts(root), entries, starts)


def _legacy(name: str, reader: PickleReader, size_bytes: int) -> tuple[Any, Mapping[str, int]]:
    """The value in the stream format of torch before 1.6, and the first byte of each storage.

    The stream has a version, the system, the value, the keys of the storages, and the storages, each after its count.
    """
    version, _, root, keys = (reader.read() for _ in range(4))
    if version != 1001 or type(keys) is not list or not all(type(key) is str for key in keys):
        raise reader.damaged("it is not a stream that torch.save writes")
    if unknown := [key for key in keys if key not in reader.storages]:
        raise reader.damaged(f"it lists the storage {printable(unknown[0], 80)}, which no tensor uses")
    starts: dict[str, int] = {}
    end = reader.cursor.position
    for key in dict.fromkeys(keys):
        starts[key] = end + 8
        end += 8 + reader.storages[key].size_bytes
    if len(starts) < len(reader.storages) or end > size_bytes:
        missing = f"the last {end - size_bytes} bytes" if end > size_bytes else "some of its weights"
        raise HeaderError(f"{name} is cut short: {missing} are missing.", "Download it again.")
    return root, starts


def _check_storages(name: str, storages: Mapping[str, Storage], sizes: Mapping[str, int]) -> None:
    for key, storage in storages.items():
        if sizes.get(key) != storage.size_bytes:
            said = "are missing" if key not in sizes else f"take {sizes[key]} bytes, not {storage.size_bytes}"
            raise HeaderError(f"{name} is damaged: the weights {printable(key, 80)} {said}.", "Download it again.")


class _TooMuchError(Exception):
    """A value that is nested deeper, or contains more, than any model."""


def _tensors(root: Any) -> dict[str, Strided]:
    """The tensors of a value, or of its state dict where it has one, by their names joined with dots."""
    inside = root if type(root) is dict else {}
    for wrapper in WRAPPERS:
        if wrapper in inside and (found := dict(_walk(inside[wrapper]))):
            return found
    return dict(_walk(root))


def _walk(root: Any) -> Iterator[tuple[str, Strided]]:
    """Every tensor in dictionaries and lists, with its name. Limits end the walk when a value contains itself."""
    seen = 0
    waiting: list[tuple[str, Any, int]] = [("", root, 0)]
    while waiting:
        key, value, depth = waiting.pop()
        seen += 1
        if seen > MOST_VALUES or depth > DEEPEST or len(key) > LONGEST_KEY:
            raise _TooMuchError
        if type(value) is Strided:
            yield key, value
            continue
        items = _items(value)
        if len(waiting) + len(items) > MOST_VALUES:
            raise _TooMuchError
        waiting += [(f"{key}.{name}" if key else str(name), inner, depth + 1) for name, inner in reversed(items)]


def _items(value: Any) -> list[tuple[Any, Any]]:
    """The items of a value that may contain tensors, with their names."""
    if type(value) is Thing:
        # A torch ParameterDict keeps its tensors in `_parameters`.
        value = next(
            (state["_parameters"] for state in value.state if type(state) is dict and "_parameters" in state), ()
        )
    if type(value) is dict:
        pairs = value.items()
    elif type(value) in (list, tuple):
        pairs = enumerate(value)
    else:
        return []
    return [(name, inner) for name, inner in pairs if type(inner) in (Strided, Thing, dict, list, tuple)]


def _texts(root: Any) -> dict[str, str]:
    """The plain values of a checkpoint (global_step, epoch, name), as text."""
    items = root.items() if type(root) is dict else ()
    texts = {key: str(value) for key, value in items if type(value) in (str, int, float, bool)}
    return {key: text for key, text in texts.items() if len(key) <= LONGEST_KEY and len(text) <= LONGEST_TEXT}
