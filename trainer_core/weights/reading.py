"""Opens a model for reading its weights: a file of any format that Easel reads, its shards, or a folder in the diffusers layout."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from trainer_core.errors import WeightsError
from trainer_core.models.header import Header, TensorInfo, archive
from trainer_core.models.header.tensors import shown
from trainer_core.text import printable
from trainer_core.weights import gguf_blocks, numbers, sources
from trainer_core.weights.dtypes import CHUNK
from trainer_core.weights.numbers import Floats
from trainer_core.weights.places import Place
from trainer_core.weights.sources import Quantised, Spread

__all__ = ["CHUNK", "Place", "Weights"]


class Weights:
    """A model whose weights are read when they are asked for. The files stay open until `close`, or the end of a `with` block."""

    def __init__(self, path: Path | str, *, dequantise: bool = False) -> None:
        """Opens a model. With `dequantise`, the numbers of quantised weights are computed; they are not those before.

        Raises:
            HeaderError: it cannot be read, or is no model.
            WeightsError: it has tensors whose numbers cannot be read.
        """
        found = sources.find(path, dequantise=dequantise)
        self.header: Header = found.header
        self.tensors: Mapping[str, TensorInfo] = found.tensors
        self._held = found.held
        paths = {each.path if isinstance(each, Place) else each.place.path for each in found.held.values()}
        self._files = {file: os.open(file, os.O_RDONLY) for file in paths}
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
        """Where the bytes of a tensor are.

        Raises:
            WeightsError: they do not follow one another in the file.
        """
        found = self._held[name]
        if not isinstance(found, Place):
            message = f"{shown(self.header.path)} does not store all its tensors in one piece."
            raise WeightsError(message, "Convert it to safetensors first: easel convert.")
        return found

    def has_place(self, name: str) -> bool:
        """Whether the bytes of a tensor follow one another in a file."""
        return isinstance(self._held[name], Place)

    def read(self, name: str) -> NDArray[np.generic]:
        """A tensor as it is stored, in its shape; one of quantised weights as it is computed."""
        info, held = self.tensors[name], self._held[name]
        if isinstance(held, Quantised):
            raw = np.empty(held.place.size, np.uint8)
            self._fill(held.place, raw, 0)
            return gguf_blocks.floats(raw, held.blocks).reshape(info.shape)
        if isinstance(held, Spread):
            return self._gathered(info, held)
        found = np.empty(info.shape, numbers.dtype(info.dtype))
        self._fill(held, found.reshape(-1).view(np.uint8), 0)
        return found

    def floats(self, name: str) -> Floats:
        """A tensor in float32, in its shape."""
        return numbers.floats(self.read(name))

    def chunks(self, name: str, most: int = CHUNK, first: int = 0, count: int | None = None) -> Iterator[Floats]:
        """The numbers of a tensor in float32, flat, at most `most` at a time, `count` of them from number `first` on.

        A chunk is overwritten by the next one.
        """
        info, held = self.tensors[name], self._held[name]
        dtype = numbers.dtype(info.dtype)
        end = info.size_bytes // dtype.itemsize if count is None else first + count
        if not isinstance(held, Place):
            whole = self.floats(name).reshape(-1)
            yield from (whole[start : min(start + most, end)] for start in range(first, end, most))
            return
        raw = np.empty(min(most, end - first), dtype)
        computed = np.empty(raw.shape, np.float32)
        for start in range(first, end, most):
            part = raw[: min(most, end - start)]
            self._fill(held, part.view(np.uint8), start * dtype.itemsize)
            into = computed[: part.size]
            # A number beyond fp32 becomes infinite, and a signalling NaN a quiet one.
            with np.errstate(over="ignore", invalid="ignore"):
                numbers.into_floats(part, into)
            yield into

    def is_finite(self, name: str) -> bool:
        """Whether no number of a tensor is NaN or infinite."""
        return all(bool(np.isfinite(chunk).all()) for chunk in self.chunks(name))

    def check_unchanged(self) -> None:
        """Checks that no file has changed since it was opened.

        Raises:
            WeightsError: one has.
        """
        for path, file in self._files.items():
            if _stamp(file) != self._stamps[file]:
                raise WeightsError(f"{shown(path)} changed while it was read.", "Try again when it is complete.")

    def _gathered(self, info: TensorInfo, held: Spread) -> NDArray[np.generic]:
        """A tensor whose numbers are spread over a storage, in one piece."""
        dtype = numbers.dtype(info.dtype)
        span = 1 + sum((size - 1) * stride for size, stride in zip(info.shape, held.strides, strict=True))
        if held.packed:
            raw = self._unpacked(held)[held.offset * dtype.itemsize :]
        else:
            raw = np.empty(span * dtype.itemsize, np.uint8)
            self._fill(held.place, raw, held.offset * dtype.itemsize)
        flat = raw[: span * dtype.itemsize].view(dtype)
        steps = tuple(stride * dtype.itemsize for stride in held.strides)
        return np.lib.stride_tricks.as_strided(flat, info.shape, steps, writeable=False).copy()

    def _unpacked(self, held: Spread) -> NDArray[np.uint8]:
        """The bytes of a storage in a compressed archive."""
        try:
            with zipfile.ZipFile(held.place.path) as opened, opened.open(held.packed) as stream:
                data = stream.read(held.place.size + 1)
        except archive.BAD as error:
            raise WeightsError(f"{shown(held.place.path)} is damaged.", "Download it again.") from error
        if len(data) != held.place.size:
            raise WeightsError(f"{shown(held.place.path)} is damaged: a part has another size.", "Download it again.")
        return np.frombuffer(data, np.uint8)

    def _fill(self, place: Place, buffer: NDArray[np.uint8], start: int) -> None:
        """Fills the buffer with bytes of a place, from byte `start` of it on."""
        view, done = buffer.data, 0
        while done < len(view):
            count = os.preadv(self._files[place.path], [view[done:]], place.start + start + done)
            if not count:
                raise WeightsError(f"{shown(place.path)} is cut short.", "Download it again.")
            done += count


def damaged(name: str, models: Iterable[Weights]) -> WeightsError:
    """The error that a tensor of these models has numbers that are NaN or infinite."""
    files = " and ".join(shown(model.header.path) for model in models)
    return WeightsError(
        f"{files} {'are' if ' and ' in files else 'is'} damaged: {printable(name, 120)} has numbers that are not finite (NaN or infinite).",
        "Check in Model_Converter, or easel convert --check, lists all such tensors. Use another copy.",
    )


def _stamp(file: int) -> tuple[int, int]:
    found = os.fstat(file)
    return found.st_size, found.st_mtime_ns
