"""The tensors of a merged model as entries of a new file: each is computed when it is written, or copied byte for byte."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Self

import numpy as np
from numpy.typing import NDArray

from trainer_core.errors import WeightsError
from trainer_core.models.header import Header
from trainer_core.text import printable
from trainer_core.weights import numbers, reading
from trainer_core.weights.dtypes import CHUNK
from trainer_core.weights.merging.arithmetic import STEPS, Columns, Tensor
from trainer_core.weights.merging.matching import Choices, Match, Row
from trainer_core.weights.merging.methods import Method
from trainer_core.weights.numbers import Floats
from trainer_core.weights.reading import Weights
from trainer_core.weights.writing import Entry


class Merge:
    """The models of a merge, open, and what is computed from them. The last model may be a VAE, which is only copied."""

    def __init__(self, headers: Sequence[Header], match: Match, method: Method, choices: Choices, seed: int) -> None:
        self._match, self._method, self._choices, self._seed = match, method, choices, seed
        self._similar: dict[str, NDArray[np.float64]] = {}
        self._open = ExitStack()
        self._models = [self._open.enter_context(Weights(header.path)) for header in headers]

    def __enter__(self) -> Self:
        """The merge itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the models."""
        self._open.close()

    def compare(self, progress: Callable[[int, int], None]) -> None:
        """Reads all tensors once, for the methods that compare the models first; `progress` is told the tensors done and all."""
        if not self._method.id.startswith("cosine"):
            return
        columns = Columns(is_unit=self._method.id == "cosine_a")
        computed = [row for row in self._match.rows if row.takes is None]
        for done, row in enumerate(computed, 1):
            columns.add(self._tensor(row))
            progress(done, len(computed))
        self._similar = columns.scaled()

    def check_unchanged(self) -> None:
        """Checks that no model has changed while it was read.

        Raises:
            WeightsError: one has.
        """
        for model in self._models:
            model.check_unchanged()

    def entries(self) -> list[Entry]:
        """The tensors of the new file."""
        return [self._entry(row) for row in self._match.rows]

    def _entry(self, row: Row) -> Entry:
        if row.takes is None:
            return Entry(row.name, row.dtype, row.shape, lambda: self._computed(row))
        model = self._models[row.takes]
        if model.tensors[row.names[0]].dtype == row.dtype:
            return Entry(row.name, row.dtype, row.shape, model.place(row.names[0]))
        return Entry(row.name, row.dtype, row.shape, lambda: self._converted(row, model))

    def _tensor(self, row: Row) -> Tensor:
        """What is computed of a tensor: all of it, or the input channels that all models have."""
        return Tensor(
            name=row.name,
            shape=(row.shape[0], row.channels, *row.shape[2:]) if row.channels else row.shape,
            weight=row.weight,
            values=self._choices.values,
            read=lambda most: self._narrow(row) if row.channels else self._chunks(row, most),
            seed=self._seed,
            similar=self._similar.get(row.name),
        )

    def _chunks(self, row: Row, most: int) -> Iterator[tuple[Floats, ...]]:
        models = zip(self._models, row.names, strict=False)
        return zip(*(model.chunks(name, most) for model, name in models), strict=True)

    def _narrow(self, row: Row) -> Iterator[tuple[Floats, ...]]:
        """The input channels that all models have, in one chunk: such a layer is small."""
        whole = (model.floats(name) for model, name in zip(self._models, row.names, strict=False))
        yield tuple(np.array(each[:, : row.channels]).reshape(-1) for each in whole)

    def _computed(self, row: Row) -> Iterator[NDArray[np.generic]]:
        tensor = self._tensor(row)
        step = STEPS[self._method.id](tensor)
        parts = (step(chunks) for chunks in tensor.read(CHUNK if tensor.similar is None else tensor.in_rows))
        if not row.channels:
            yield from (self._stored(part, row) for part in parts)
            return
        whole = np.array(self._models[0].floats(row.names[0]))
        whole[:, : row.channels] = next(parts).reshape(tensor.shape)
        yield self._stored(whole, row)

    def _converted(self, row: Row, model: Weights) -> Iterator[NDArray[np.generic]]:
        for chunk in model.chunks(row.names[0]):
            yield self._stored(chunk, row)

    def _stored(self, values: Floats, row: Row) -> NDArray[np.generic]:
        """Computed numbers in the dtype of the file.

        Raises:
            WeightsError: one is not finite, which the damaged models are named for, or is too large for the dtype.
        """
        found = numbers.stored(values, row.dtype)
        if numbers.is_finite(found, row.dtype):
            return found
        if math.isfinite(float(np.abs(values).max())):
            raise WeightsError(
                f"A number of {printable(row.name, 120)} is too large for {row.dtype}.", "Choose bf16 or fp32 instead."
            )
        if bad := self._damaged(row):
            raise reading.damaged(row.name, bad)
        raise WeightsError(
            f"The numbers of {printable(row.name, 120)} become infinite: those of the models are too large for this method.",
            "Use another method, or a smaller weight.",
        )

    def _damaged(self, row: Row) -> list[Weights]:
        """The models that have numbers in a tensor that are not finite."""
        models = self._models if row.takes is None else [self._models[row.takes]]
        return [model for model, name in zip(models, row.names, strict=False) if not model.is_finite(name)]
