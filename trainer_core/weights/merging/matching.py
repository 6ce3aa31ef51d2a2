"""Which tensors a merge computes, which it copies, and from which model: from the headers alone, without numpy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from trainer_core.errors import WeightsError
from trainer_core.models.detection import parts
from trainer_core.models.header import Header, TensorInfo
from trainer_core.text import amount, printable
from trainer_core.weights.dtypes import FLOATS
from trainer_core.weights.merging import blocks
from trainer_core.weights.merging.inputs import LETTERS, Input, markers
from trainer_core.weights.merging.methods import PARTS, WEIGHT, Method
from trainer_core.weights.merging.names import EMA, OTHER, first_of, in_names_of, part_of, renamed

CHANNEL_LAYERS = ("input_blocks.0.0.weight", "conv_in.weight")
"""The layers whose input channels a model for inpainting has more of. Source: AUTOMATIC1111 modules/extras.py, run_modelmerger."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the user chose. `parts` says for each part "merge", or the letter of the model from which it is taken.

    `dtype` is that of all weights of the result, spelt as in safetensors; "" for those of A. `blocks` are patterns of labels with their
    weights, `block_list` the weights of all blocks. `marks` is the letter of the model whose prediction type the result has.
    """

    values: Mapping[str, float]
    parts: Mapping[str, str]
    dtype: str = ""
    preset: str = ""
    blocks: Mapping[str, float] = field(default_factory=dict)
    block_list: tuple[float, ...] = ()
    marks: str = "a"


@dataclass(frozen=True)
class Row:
    """A tensor of the result.

    `names` are its names in the models, in their order. A row with `takes` is a copy of the tensor with the name `names[0]` of the model with
    that number. `channels` are the input channels that are merged, 0 for all; the others are those of A.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]
    part: str
    block: str = ""
    weight: float = 0.0
    takes: int | None = None
    channels: int = 0

    @property
    def numbers(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Match:
    """The tensors of the result in the order of A's file, the weight of each block, and sentences for the user."""

    rows: tuple[Row, ...]
    blocks: Mapping[str, float]
    notes: tuple[str, ...]


def match(models: Sequence[Input], method: Method, choices: Choices, vae: Header | None = None) -> Match:
    """What the result consists of. `vae` is the header of a VAE that replaces that of the models.

    Raises:
        WeightsError: tensors with the same name have different shapes, or a part is in no model.
    """
    return _Matching(models, method, choices).made(vae)


class _Matching:
    """The tensors of one merge."""

    def __init__(self, models: Sequence[Input], method: Method, choices: Choices) -> None:
        self.models, self.method, self.choices = models, method, choices
        self.first = models[0]
        self.tables: list[dict[str, str]] = [{name: name for name in self.first.header.tensors}]
        self.tables += [in_names_of(self.first, other) for other in models[1:]]
        self.labels = self._labels()
        known = blocks.in_order(self.labels.values())
        given = choices.blocks
        if choices.block_list:
            given = {**blocks.from_list(choices.block_list, known), **given}
        self.weights = blocks.weights(known, choices.preset, given, choices.values[WEIGHT])
        self.notes: list[str] = []

    def made(self, vae: Header | None) -> Match:
        rows = [row for row in self._rows() if vae is None or row.part != "vae"]
        if vae is not None:
            rows += self._baked(vae)
        if not any(row.takes is None for row in rows) and all(way == "merge" for way in self.choices.parts.values()):
            self.notes.append("Nothing is computed: with these weights the result is a copy.")
        return Match(tuple(rows), self.weights, (*self.notes, *self._lost()))

    def _labels(self) -> dict[str, str]:
        prefix = self.first.detection.prefix
        own = [name for name in self.first.header.tensors if part_of(name, self.first) == "denoiser"]
        bare = blocks.labels(
            self.first.detection.family or "",
            self.first.detection.layout,
            [name.removeprefix(prefix) for name in own],
        )
        return {prefix + name: label for name, label in bare.items()}

    def _rows(self) -> Iterator[Row]:
        tensors = self.first.header.tensors
        missing: dict[str, list[str]] = {}
        ordered = sorted(tensors, key=lambda name: (tensors[name].start_bytes, name))
        for name in ordered:
            part = part_of(name, self.first)
            if part == "ema" or self._taken_from(part) or self._replaced(name):
                continue
            yield self._row(name, tensors[name], part)
            if self.choices.parts.get(part) == "merge":
                for one, table in zip(self.models, self.tables, strict=True):
                    if name not in table:
                        missing.setdefault(one.label, []).append(name)
        for part in PARTS:
            if number := self._taken_from(part):
                yield from self._part_of(number, part)
        yield from self._markers()
        self._say(missing)

    def _taken_from(self, part: str) -> int:
        """The number of the model from which a whole part is taken; 0 for A, and for a part that is merged."""
        letter = self.choices.parts.get(part, "a")
        return 0 if letter == "merge" else LETTERS.index(letter)

    def _row(self, name: str, info: TensorInfo, part: str) -> Row:
        """A tensor of A: merged, or taken from A or another model."""
        dtype = self._dtype(info)
        copy = Row(name, dtype, info.shape, (name,), part, takes=0)
        if self.choices.parts.get(part) != "merge" or not all(name in table for table in self.tables):
            return copy
        names = tuple(table[name] for table in self.tables)
        infos = [one.header.tensors[own] for one, own in zip(self.models, names, strict=True)]
        if any(each.dtype not in FLOATS for each in infos) or not info.size_bytes:
            return copy
        label = self.labels.get(name, blocks.BASE)
        weight = self.weights[label]
        channels = self._channels(name, infos)
        takes = self._unmixed(weight) if not channels else None
        if takes is not None:
            return replace(copy, names=(names[takes],), takes=takes, block=label, weight=weight)
        return Row(name, dtype, info.shape, names, part, label, weight, None, channels)

    def _dtype(self, info: TensorInfo) -> str:
        return self.choices.dtype if self.choices.dtype and info.dtype in FLOATS and info.size_bytes else info.dtype

    def _unmixed(self, weight: float) -> int | None:
        """The number of the model that the result equals with this weight; None where it equals none."""
        if "weight_c" in self.choices.values:
            return None
        letter = {0.0: self.method.at_zero, 1.0: self.method.at_one}.get(weight, "")
        return LETTERS.index(letter) if letter else None

    def _channels(self, name: str, infos: Sequence[TensorInfo]) -> int:
        """The input channels to merge where A has more of them; 0 where all shapes are the same.

        Raises:
            WeightsError: the shapes do not fit together.
        """
        shape = infos[0].shape
        fewer = 0
        for one, info in zip(self.models[1:], infos[1:], strict=True):
            if _plain(info.shape) == _plain(shape):
                continue
            is_wider = len(shape) == len(info.shape) == 4 and shape[:1] + shape[2:] == info.shape[:1] + info.shape[2:]
            if not (is_wider and name.endswith(CHANNEL_LAYERS) and info.shape[1] < shape[1]):
                raise WeightsError(
                    f"{printable(name, 120)} has the shape {list(shape)} in {self.first.label}, and {list(info.shape)} in {one.label}.",
                    "Models with layers of different sizes cannot be merged.",
                )
            fewer = info.shape[1]
        if fewer:
            self.notes.append(
                f"{printable(name, 120)} has {shape[1]} input channels in A: the first {fewer} are merged, the others stay those of A."
            )
        return fewer

    def _part_of(self, number: int, part: str) -> Iterator[Row]:
        """All tensors of a part of another model, as they are."""
        one, table = self.models[number], self.tables[number]
        own = {new: old for new, old in table.items() if part_of(old, one) == part}
        if not own:
            raise WeightsError(f"{one.label} has no {part.replace('_', ' ')}.", "Take this part from another model.")
        for new, old in own.items():
            info = one.header.tensors[old]
            yield Row(new, self._dtype(info), info.shape, (old,), part, takes=number)

    def _replaced(self, name: str) -> bool:
        """Whether a marker of A does not hold for the result, which predicts as another model."""
        return self.choices.marks != "a" and name in {*markers(self.first.detection.family or ""), "ztsnr"}

    def _markers(self) -> Iterator[Row]:
        """The markers that the result needs and A lacks."""
        family = self.first.detection.family or ""
        wanted = {name for name, each in markers(family).items() if each == self._predicts()}
        number = LETTERS.index(self.choices.marks)
        for place, one in enumerate(self.models):
            names = wanted | ({"ztsnr"} if number and place == number else set())
            for name in sorted(names & one.header.tensors.keys()):
                if place and (number == place or (not number and name not in self.first.header.tensors)):
                    info = one.header.tensors[name]
                    self.notes.append(f"The marker {name} is taken from {one.label}.")
                    yield Row(name, info.dtype, info.shape, (name,), OTHER, takes=place)
                    wanted.discard(name)

    def _predicts(self) -> str | None:
        """What the result predicts, if a file says it."""
        one = self.models[LETTERS.index(self.choices.marks)]
        every = [each for each in (one, *self.models) if each.detection.is_prediction_certain]
        return every[0].detection.prediction if every else None

    def _baked(self, vae: Header) -> Iterator[Row]:
        """The tensors of a VAE file, in the names that A has for its own VAE."""
        mine = {part.id: root for root, part in parts.held(self.first.header).items() if part.role == "vae"}
        theirs = {part.id: root for root, part in parts.held(vae).items() if part.role == "vae"}
        kinds = mine.keys() & theirs.keys()
        if not kinds:
            why = "has no VAE that could be replaced" if not mine else "has another kind of VAE than this file"
            raise WeightsError(f"{self.first.label} {why}.", "Choose the VAE of the same family.")
        kind = min(kinds)
        form = parts.form(kind, vae.tensors, theirs[kind])
        to = parts.form(kind, self.first.header.tensors, mine[kind])
        if form is None or to is None:
            raise WeightsError(
                f"The names of the layers of {vae.path.name} are unknown to Easel.", "Choose another VAE."
            )
        own = self.first.header.tensors
        for new, old in renamed(kind, vae, form, to).items():
            info = vae.tensors[old]
            if new in own:
                yield Row(new, self._dtype(own[new]), own[new].shape, (old,), "vae", takes=len(self.models))
                if _plain(own[new].shape) != _plain(info.shape):
                    raise WeightsError(
                        f"{printable(old, 120)} of the VAE has another shape than in A.", "Choose another VAE."
                    )

    def _say(self, missing: Mapping[str, Sequence[str]]) -> None:
        for label, names in missing.items():
            counted = amount(len(names), "tensor")
            self.notes.append(f"{label} lacks {counted} of A, which stay as in A: {printable(first_of(names), 160)}.")

    def _lost(self) -> Iterator[str]:
        """Sentences about what is left out."""
        ema = sum(name.startswith(EMA) for name in self.first.header.tensors)
        if ema:
            yield f"{amount(ema, 'tensor')} of A with averages of its training (EMA) are left out: no program reads them."
        for one, table in list(zip(self.models, self.tables, strict=True))[1:]:
            only = [new for new in table if new not in self.first.header.tensors and part_of(new, one) in PARTS]
            only = [name for name in only if LETTERS[self._taken_from(part_of(name, one))] != one.letter]
            if only:
                yield f"{amount(len(only), 'tensor')} of {one.label} that A lacks are left out: {printable(first_of(only), 160)}."


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without its last dimensions of size 1: a matrix and a convolution of 1 x 1 have the same numbers."""
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape
