"""Opens a model for reading its weights: one safetensors file, its shards, or a folder in the diffusers layout."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from trainer_core.errors import WeightsError
from trainer_core.models import header
from trainer_core.models.header import Header, TensorInfo
from trainer_core.models.header.tensors import shown
from trainer_core.weights import numbers
from trainer_core.weights.dtypes import CHUNK
from trainer_core.weights.numbers import Floats
from trainer_core.weights.places import Place

__all__ = ["CHUNK", "Place", "Weights"]


__all__ = ["Place", "Weights"]


class Weights:
    """A model whose weights are read when they are asked for. The files stay open until `close`, or the end of a `with` block."""

    def __init__(self, path: Path | str) -> None:
        """Opens a model.

        Raises:
            HeaderError: it cannot be read, or is no model.
            WeightsError: its format has no weights that can be read directly.
        """
        self.header: Header = header.read(path)
        if self.header.format not in ("safetensors", "sharded", "diffusers"):
            raise WeightsError(
                f"{shown(self.header.path)} is not a safetensors file.", "Convert it to safetensors first."
            )
        self.tensors: Mapping[str, TensorInfo] = self.header.tensors
        self._places = dict(_places(self.header))
        paths = dict.fromkeys(place.path for place in self._places.values())
        self._files = {path: os.open(path, os.O_RDONLY) for path in paths}
        self._stamps = {file: _stamp(file) for file in self._files.values()}

    def __enter__(self) -> Self:
        """The model itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the files."""
        self.close()

    def close(self) -> None:
        """Closes the files."""
        for file in self._files.values():
            os.close(file)
        self._files = {}

    def place(self, name: str) -> Place:
        """Where the bytes of a tensor are."""
        return self._places[name]

    def read(self, name: str) -> NDArray[np.generic]:
        """A tensor as it is stored, in its shape."""
        info = self.tensors[name]
        found = np.empty(info.shape, numbers.dtype(info.dtype))
        self._fill(name, found.reshape(-1).view(np.uint8), 0)
        return found

    def floats(self, name: str) -> Floats:
        """A tensor in float32, in its shape."""
        return numbers.floats(self.read(name))

    def chunks(self, name: str, most: int = CHUNK) -> Iterator[Floats]:
        """The numbers of a tensor in float32, flat, at most `most` at a time. A chunk is overwritten by the next one."""
        info = self.tensors[name]
        dtype = numbers.dtype(info.dtype)
        count = info.size_bytes // dtype.itemsize
        raw = np.empty(min(most, count), dtype)
        computed = np.empty(raw.shape, np.float32)
        for start in range(0, count, most):
            part = raw[: min(most, count - start)]
            self._fill(name, part.view(np.uint8), start * dtype.itemsize)
            into = computed[: part.size]
            numbers.into_floats(part, into)
            yield into

    def check_unchanged(self) -> None:
        """Checks that no file has changed since it was opened.

        Raises:
            WeightsError: one has.
        """
        for path, file in self._files.items():
            if _stamp(file) != self._stamps[file]:
                raise WeightsError(f"{shown(path)} changed while it was read.", "Try again when it is complete.")

    def _fill(self, name: str, buffer: NDArray[np.uint8], start: int) -> None:
        """Fills the buffer with bytes of a tensor, from byte `start` of it on."""
        place = self._places[name]
        view, done = buffer.data, 0
        while done < len(view):
            count = os.preadv(self._files[place.path], [view[done:]], place.start + start + done)
            if not count:
                raise WeightsError(f"{shown(place.path)} is cut short.", "Download it again.")
            done += count


def _places(found: Header) -> Iterator[tuple[str, Place]]:
    if found.format == "safetensors":
        yield from (
            (name, Place(found.path, info.start_bytes, info.size_bytes)) for name, info in found.tensors.items()
        )
        return
    for file in found.files:
        own = header.read_file(file)
        if own.format != "safetensors":
            raise WeightsError(f"{shown(file)} is not a safetensors file.", "Convert it to safetensors first.")
        for name, info in own.tensors.items():
            full = f"{file.parent.name}/{name}" if found.format == "diffusers" else name
            if full in found.tensors:
                yield full, Place(file, info.start_bytes, info.size_bytes)


def _stamp(file: int) -> tuple[int, int]:
    found = os.fstat(file)
    return found.st_size, found.st_mtime_ns
