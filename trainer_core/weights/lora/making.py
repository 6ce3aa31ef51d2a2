"""Makes the layers of a new network: the exact sum of the changes of a layer, or the nearest one of a smaller rank, as tensors of the file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer_core.errors import WeightsError
from trainer_core.text import printable
from trainer_core.weights import numbers
from trainer_core.weights.lora import algebra, products, sides
from trainer_core.weights.lora.grouping import Group, Member
from trainer_core.weights.lora.products import Term
from trainer_core.weights.lora.ranks import Rule
from trainer_core.weights.numbers import Floats


class Tensor(NamedTuple):
    """A tensor of the new file, in the dtype of the file."""

    name: str
    dtype: str
    values: NDArray[np.generic]


@dataclass(frozen=True)
class Layer:
    """A layer of the new file: its tensors, its rank (0 without one) and the rank before.

    `energy` is the sum of squares of the exact change, and `lost` that of the error. `is_copied`: its matrices are those of the
    source, bit by bit.
    """

    name: str
    block: str
    rank: int
    rank_before: int
    energy: float
    lost: float
    tensors: tuple[Tensor, ...] = field(repr=False)
    is_copied: bool = False

    @property
    def error(self) -> float:
        """The size of the error divided by the size of the exact change."""
        return math.sqrt(max(self.lost, 0.0) / self.energy) if self.energy > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """What is reported of the layer."""
        return {
            "layer": printable(self.name, 200), "block": self.block, "rank": self.rank, "rank_before": self.rank_before,
            "error": self.error, "copied": self.is_copied,
        }  # fmt: skip


def layer(group: Group, rule: Rule | None = None) -> Layer:
    """A layer of the new file: exact, or with the rank that a rule chooses.

    Raises:
        WeightsError: the change depends on the model, its parts do not fit together, or a number is too large for the dtype.
    """
    extra = _biases(group)
    if group.is_summed:
        return _summed(group, extra)
    terms = _terms(group)
    if not terms:
        return Layer(group.name, group.block, 0, 0, 0.0, 0.0, extra)
    if rule is None:
        return _exact(group, terms, extra)
    return _nearest(group, terms, extra, rule)


def total_error(layers: Iterable[Layer]) -> float:
    """The size of the error of all layers together, divided by the size of the whole change."""
    energy = lost = 0.0
    for each in layers:
        energy, lost = energy + each.energy, lost + max(each.lost, 0.0)
    return math.sqrt(lost / energy) if energy > 0 else 0.0


def ordered(layers: Iterable[Layer]) -> list[Tensor]:
    """All tensors in the order in which the safetensors library stores them: the widest dtype first, so that each is aligned."""
    found = [tensor for each in layers for tensor in each.tensors]
    names = {tensor.name for tensor in found}
    if len(names) < len(found):
        raise WeightsError("Two layers would get the same name.", "Keep the naming of the file.")
    return sorted(found, key=lambda tensor: (-tensor.values.dtype.itemsize, tensor.name))


def digest(tensors: Sequence[Tensor]) -> str:
    """The SHA-256 of the tensors' bytes in the file, which is what programs know as the hash of a network."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(np.ascontiguousarray(tensor.values).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def _exact(group: Group, terms: Sequence[tuple[Term, float]], extra: tuple[Tensor, ...]) -> Layer:
    """The sum, by placing the matrices side by side. The scale of the first one stays, so that its matrices are kept bit by bit."""
    total = sum(term.rank for term, _ in terms)
    energy = _energy(terms)
    if total > group.most_rank and not group.is_single:
        # A product of a larger rank than the matrix can have would only be larger.
        rule = Rule(most=group.most_rank)
        return _nearest(group, terms, extra, rule)
    scale = abs(_scale(*terms[0])) if group.endings.has_alpha else 1.0
    scale = scale or 1.0
    ups = [term.up * np.float32(_scale(term, strength) / scale) for term, strength in terms]
    up, down = np.concatenate(ups, axis=1), np.concatenate([term.down for term, _ in terms])
    is_copied = len(terms) == 1 and group.members[0].module.layout == products.PLAIN and _scale(*terms[0]) == scale
    tensors = _tensors(group, up, down, scale * total, terms[0][0])
    return Layer(group.name, group.block, total, total, energy, 0.0, (*tensors, *extra), is_copied)


def _nearest(group: Group, terms: Sequence[tuple[Term, float]], extra: tuple[Tensor, ...], rule: Rule) -> Layer:
    """The nearest product of the rank that the rule chooses."""
    total = sum(term.rank for term, _ in terms)
    before = total if group.is_single else min(total, group.most_rank)
    if rule.method == "rank" and len(terms) == 1 and before <= rule.limit(group.is_conv) and terms[0][0].rank == before:
        return _exact(group, terms, extra)
    up = np.concatenate([term.up * np.float32(_scale(term, strength)) for term, strength in terms], axis=1)
    found = algebra.decomposed(up, np.concatenate([term.down for term, _ in terms]))
    rank = rule.rank(found.values.tolist(), group.is_conv)
    scale = abs(_scale(*terms[0])) if group.endings.has_alpha else 1.0
    scale = scale if scale > 0 else 1.0
    left, right = found.factors(rank)
    # The same scale as before, so that training can go on with the same alpha for each rank; both matrices share what it changes.
    root = np.float32(1 / math.sqrt(scale))
    tensors = _tensors(group, left * root, right * root, scale * rank, terms[0][0])
    energy, lost = algebra.energy(found.values), algebra.energy(found.values[rank:])
    return Layer(group.name, group.block, rank, before, energy, lost, (*tensors, *extra))


def _terms(group: Group) -> list[tuple[Term, float]]:
    """The changes of a layer and their strengths; the parts of one joined layer that have the same input matrix become one change."""
    found = [(_placed(each, group), each) for each in group.members if each.module.has_weight]
    if len(found) > 1 and _is_one(found):
        up = np.asarray(np.sum([term.up for term, _ in found], axis=0), np.float32)
        return [(replace(found[0][0], up=up), found[0][1].strength)]
    return [(term, each.strength) for term, each in found]


def _is_one(found: Sequence[tuple[Term, Member]]) -> bool:
    """Whether these are different rows of one product, as of a joined layer that was cut."""
    (first, member), *others = found
    if member.into is None:
        return False
    places = {each.into.start for _, each in found if each.into is not None}
    return len(places) == len(found) and all(
        each.strength == member.strength
        and term.scale == first.scale
        and term.down.shape == first.down.shape
        and np.array_equal(term.down, first.down)
        for term, each in others
    )


def _placed(member: Member, group: Group) -> Term:
    """The change of a module as one of the layer of the new file: some of its rows, or among rows of zeros."""
    term = products.of(member.module)
    if member.cut is not None:
        start, end = sides.rows(member.cut, len(term.up))
        return replace(term, up=_halves(term.up[start:end], member.cut.swapped))
    if member.into is not None:
        start, end = sides.rows(member.into, group.shape[0])
        up = np.zeros((group.shape[0], term.rank), np.float32)
        up[start:end] = _halves(term.up, member.into.swapped)
        return replace(term, up=up)
    return term


def _halves(values: Floats, swapped: bool) -> Floats:
    """The rows, the second half of them first if `swapped`."""
    return np.roll(values, len(values) // 2, axis=0) if swapped else values


def _scale(term: Term, strength: float) -> float:
    return term.scale * strength


def _energy(terms: Sequence[tuple[Term, float]]) -> float:
    """The sum of the squares of all numbers of the sum, without the large matrix."""
    up = np.concatenate([term.up * np.float32(_scale(term, strength)) for term, strength in terms], axis=1)
    down = np.concatenate([term.down for term, _ in terms])
    if up.shape[1] >= min(len(up), down.shape[1]):
        return float(np.sum(np.square(up @ down, dtype=np.float64)))
    return max(float(np.sum((up.T @ up).astype(np.float64) * (down @ down.T))), 0.0)


def _tensors(group: Group, up: Floats, down: Floats, alpha: float, term: Term) -> list[Tensor]:
    """The two matrices in the shapes of the layer, and alpha."""
    kernel = term.kernel
    inputs = down.shape[1] // math.prod(kernel)
    shapes = (up.shape + (1,) * len(kernel), (len(down), inputs, *kernel))
    found = [
        _tensor(group.name + group.endings.up, up.reshape(shapes[0]), group.dtype),
        _tensor(group.name + group.endings.down, down.reshape(shapes[1]), group.dtype),
    ]
    if group.endings.has_alpha:
        found.append(Tensor(f"{group.name}.alpha", "F32", np.array(alpha, np.float32)))
    return found


def _tensor(name: str, values: Floats, dtype: str) -> Tensor:
    return Tensor(name, dtype, stored(name, values, dtype))


def stored(name: str, values: Floats, dtype: str) -> NDArray[np.generic]:
    """The numbers of a tensor in a dtype.

    Raises:
        WeightsError: one is too large for it, or is no number.
    """
    made = numbers.stored(values, dtype)
    if not np.isfinite(made).all():
        if np.isnan(values).any():
            raise WeightsError(
                f"{printable(name, 120)} would contain numbers that are not a number (NaN).",
                "A file is damaged; use an earlier checkpoint of it.",
            )
        raise WeightsError(
            f"{printable(name, 120)} would contain numbers that are too large for {dtype}.",
            "Choose bf16 or fp32 for the new file.",
        )
    return made


def _summed(group: Group, extra: tuple[Tensor, ...]) -> Layer:
    """The sum of full differences, and of norms."""
    found: dict[str, Floats] = {}
    for each in group.members:
        for part in ("diff", "w_norm"):
            if part in each.module.parts:
                change = each.module.array(part) * np.float32(each.strength)
                found[part] = found[part] + change if part in found else change
    energy = sum(float(np.sum(np.square(change, dtype=np.float64))) for change in found.values())
    tensors = tuple(_tensor(f"{group.name}.{part}", change, group.dtype) for part, change in found.items())
    return Layer(group.name, group.block, 0, 0, energy, 0.0, (*tensors, *extra))


def _biases(group: Group) -> tuple[Tensor, ...]:
    """The sum of the changes of the bias, as the field stores it: diff_b, and b_norm of a norm."""
    changes = [found for each in group.members if (found := _bias(each)) is not None]
    if not changes:
        return ()
    ending = "b_norm" if group.members[0].module.layout == "norm" else "diff_b"
    if len({change.shape for change in changes}) > 1:
        raise WeightsError(f"{printable(group.name, 80)} has biases of different shapes.", "Check the files.")
    return (_tensor(f"{group.name}.{ending}", np.asarray(np.sum(changes, axis=0), np.float32), group.dtype),)


def _bias(member: Member) -> Floats | None:
    found = member.module.bias(member.strength)
    if found is None or member.is_whole:
        return found
    raise WeightsError(
        f"The layer {printable(member.module.key, 80)} changes a bias, which cannot be brought into the other naming.",
        "Keep the naming of the file.",
    )


def copied(key: str, dtype: str, values: NDArray[np.generic]) -> Layer:
    """A tensor that is part of no layer, as it is."""
    return Layer(key, "", 0, 0, 0.0, 0.0, (Tensor(key, dtype, values),), is_copied=True)
