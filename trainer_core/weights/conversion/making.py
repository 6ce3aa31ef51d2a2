"""Makes what was planned: computes the numbers of new tensors, and writes the files."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainer_core.models.renaming.building import Part
from trainer_core.text import amount, printable
from trainer_core.weights import checkpoint_file, new_folder, numbers, writing
from trainer_core.weights.conversion import scaled
from trainer_core.weights.conversion.dtypes import Tensor
from trainer_core.weights.conversion.inputs import Input
from trainer_core.weights.conversion.planning import NewFile, Plan
from trainer_core.weights.numbers import Floats
from trainer_core.weights.places import Place
from trainer_core.weights.reading import CHUNK, Weights
from trainer_core.weights.writing import Entry, Progress

if TYPE_CHECKING:
    from trainer_core.weights.writing import Chunk

FORMAT = {"format": "pt"}
"""The metadata that transformers requires of a safetensors file. Source: transformers modeling_utils.py, load_state_dict."""


@dataclass
class Limits:
    """Numbers that do not fit the new dtype: how many, in how many tensors, and the first of these.

    `damaged` counts those by tensor that are NaN or infinite in the file that is read.
    """

    dtype: str = ""
    numbers: int = 0
    tensors: set[str] = field(default_factory=set)
    first: str = ""
    damaged: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, count: int, dtype: str) -> None:
        """Counts numbers of a tensor."""
        if count:
            self.numbers += count
            self.tensors.add(name)
            self.first = self.first or name
            self.dtype = dtype

    def add_damaged(self, name: str, count: int) -> None:
        """Counts numbers of a tensor that are NaN or infinite as in the file."""
        if count:
            self.damaged[name] = self.damaged.get(name, 0) + count

    def sentences(self) -> list[str]:
        """What happened to these numbers; [] if there were none."""
        return [said for said in (self._too_large(), self._damaged()) if said]

    def _damaged(self) -> str:
        if not self.damaged:
            return ""
        count = sum(self.damaged.values())
        are = "number of {} is" if count == 1 else "numbers of {} are"
        where = are.format(amount(len(self.damaged), "tensor"))
        first = printable(next(iter(self.damaged)), 120)
        return f"{count:,} {where} NaN or infinite, as in the file that was read; the first is in {first}. That file may be damaged."

    def _too_large(self) -> str:
        if not self.numbers:
            return ""
        how = "became infinite" if self.dtype not in scaled.LARGEST else f"became {scaled.LARGEST[self.dtype]:g}"
        return (
            f"{self.numbers} numbers of {len(self.tensors)} tensors are too large for {self.dtype} and {how}; "
            f"the first is in {self.first}."
        )


def make(plan: Plan, metadata: Mapping[str, str], progress: Progress) -> Limits:
    """Writes the new file or folder; it appears under its name when it is complete.

    Raises:
        WeightsError: it exists already, an input has changed meanwhile, or the disk is too full.
        OSError: a file cannot be read or written.
    """
    limits = Limits()
    with contextlib.ExitStack() as stack:
        models = [stack.enter_context(_open(each)) for each in plan.inputs]

        def unchanged() -> None:
            for model in models:
                model.check_unchanged()

        total, count, wrote, made = plan.size_bytes, len(plan.tensors), 0, 0
        if not plan.is_folder:
            form = checkpoint_file.write if plan.settings.form == "checkpoint" else None
            entries = entries_of(plan.files[0], plan.inputs, models, limits)
            writing.write(plan.target, entries, {**metadata, **FORMAT}, progress, unchanged, form)
            return limits
        with new_folder.making(plan.target, total, unchanged) as folder:
            for file in plan.files:
                entries = entries_of(file, plan.inputs, models, limits)
                told = functools.partial(_told, progress, made, count, wrote, total)
                texts = {**metadata, **FORMAT} if file.has_metadata else FORMAT
                path = folder / file.name
                path.parent.mkdir(parents=True, exist_ok=True)
                writing.write(path, entries, texts, told, lambda: None)
                wrote, made = wrote + file.size, made + len(file.tensors)
            new_folder.add(folder, plan.texts, plan.copies)
    return limits


def _told(
    progress: Progress, made: int, count: int, wrote: int, total: int, tensors: int, _: int, done: int, __: int
) -> None:
    progress(made + tensors, count, wrote + done, total)


def _open(each: Input) -> Weights:
    return Weights(each.path, dequantise=True)


def entries_of(file: NewFile, inputs: tuple[Input, ...], models: list[Weights], limits: Limits) -> list[Entry]:
    """The tensors of a new file, with what makes them."""
    maker = _Maker(inputs, models, limits)
    return [Entry(tensor.name, tensor.dtype, tensor.shape, maker.source(tensor)) for tensor in file.tensors]


class _Maker:
    """Makes tensors of the rows of old ones."""

    def __init__(self, inputs: tuple[Input, ...], models: list[Weights], limits: Limits) -> None:
        self._inputs, self._models, self._limits = inputs, models, limits
        self._scales: dict[tuple[Part, ...], float] = {}

    def source(self, tensor: Tensor) -> Place | list[Place] | Callable[[], Iterator[Chunk]]:
        """Where the bytes of a tensor are, or what computes them."""
        built = tensor.built
        if built is None:
            return lambda: iter([tensor.content] if tensor.content else [])
        if tensor.work == "copy" and built.turned is None:
            found = [self._place(part) for part in built.parts]
            if all(found):
                return [place for place in found if place]
        work = {"copy": self._copied, "compute": self._computed, "scaled": self._divided, "scale": self._scale}
        return functools.partial(work[tensor.work], tensor)

    def _place(self, part: Part) -> Place | None:
        model = self._models[part.file]
        if not model.has_place(part.name):
            return None
        place, info = model.place(part.name), model.tensors[part.name]
        rows = info.shape[0] if info.shape else 1
        row = place.size // rows if rows else 0
        return Place(place.path, place.start + part.first * row, part.rows * row)

    def _copied(self, tensor: Tensor) -> Iterator[Chunk]:
        """A tensor that is turned, or whose numbers are spread over the old file."""
        built = tensor.built
        assert built is not None
        parts = []
        for part in built.parts:
            whole = self._models[part.file].read(part.name)
            parts.append(whole.reshape(whole.shape or (1,))[part.first : part.first + part.rows])
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        yield whole if built.turned is None else np.ascontiguousarray(whole.reshape(built.turned).T)

    def _computed(self, tensor: Tensor) -> Iterator[Chunk]:
        for chunk in self._numbers(tensor):
            yield self._stored(tensor, chunk)

    def _divided(self, tensor: Tensor) -> Iterator[Chunk]:
        """A tensor as fp8, divided by its scale."""
        scale = np.float32(self._scale_of(tensor))
        for chunk in self._numbers(tensor):
            yield self._stored(tensor, chunk / scale)

    def _scale(self, tensor: Tensor) -> Iterator[Chunk]:
        yield np.array(self._scale_of(tensor), np.float32)

    def _scale_of(self, tensor: Tensor) -> float:
        """The number by which fp8 weights are multiplied: the largest one becomes the largest of the dtype."""
        assert tensor.built is not None
        key = tensor.built.parts
        if key not in self._scales:
            largest = 0.0
            for chunk in self._numbers(tensor):
                known = np.abs(chunk[np.isfinite(chunk)])
                largest = max(largest, float(known.max(initial=0.0)))
            self._scales[key] = float(np.float32(largest / scaled.LARGEST["F8_E4M3"])) or 1.0
        return self._scales[key]

    def _stored(self, tensor: Tensor, chunk: Floats) -> NDArray[np.generic]:
        most = scaled.LARGEST.get(tensor.dtype)
        if most is not None:
            # fp8 has no infinity, so that a number beyond its range would become NaN.
            beyond = np.abs(chunk) > most
            self._limits.add_damaged(tensor.name, int(np.count_nonzero(np.isnan(chunk))))
            if tensor.work != "scaled":
                self._limits.add(tensor.name, int(np.count_nonzero(beyond)), tensor.dtype)
            return numbers.stored(np.clip(chunk, -most, most), tensor.dtype)
        made = numbers.stored(chunk, tensor.dtype)
        if tensor.dtype in numbers.FLOATS and not numbers.is_finite(made, tensor.dtype):
            whole = np.isfinite(chunk)
            self._limits.add_damaged(tensor.name, int(np.count_nonzero(~whole)))
            self._limits.add(tensor.name, int(np.count_nonzero(np.isinf(made) & whole)), tensor.dtype)
        return made

    def _numbers(self, tensor: Tensor) -> Iterator[Floats]:
        """The numbers of a tensor in float32, in chunks."""
        built = tensor.built
        assert built is not None
        chunks = (chunk for part in built.parts for chunk in self._rows(part))
        if built.turned is None:
            yield from chunks
            return
        whole = np.concatenate([chunk.copy() for chunk in chunks]).reshape(built.turned)
        yield np.ascontiguousarray(whole.T).reshape(-1)

    def _rows(self, part: Part) -> Iterator[Floats]:
        """The numbers of rows of an old tensor, multiplied by their scale."""
        model, scale = self._models[part.file], self._inputs[part.file].scales.get(part.name)
        shape = model.tensors[part.name].shape
        row = math.prod(shape[1:])
        if scale is None:
            yield from model.chunks(part.name, CHUNK, part.first * row, part.rows * row)
            return
        factors = model.floats(scale).reshape(-1)
        if factors.size == 1:
            for chunk in model.chunks(part.name, CHUNK, part.first * row, part.rows * row):
                yield chunk * factors[0]
            return
        for number in range(part.first, part.first + part.rows):
            for chunk in model.chunks(part.name, CHUNK, number * row, row):
                yield chunk * factors[number]
