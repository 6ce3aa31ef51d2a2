"""What every kind of module can say: its rank and the shape of its change from the header alone, and the change itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from trainer_core.errors import WeightsError
from trainer_core.text import printable

if TYPE_CHECKING:
    from trainer_core.weights.numbers import Floats

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
"""The shapes of the parts of a module."""
HINT = "Download or save the network again."


@dataclass(frozen=True)
class Factors:
    """A change as a product: `up` is (out, rank), `down` is (rank, inputs), and `up @ down` is the change at strength 1.

    The inputs of a convolution are its channels times its kernel, and `kernel` is the kernel's shape; () for a linear layer.
    """

    up: Floats
    down: Floats
    kernel: Shape = ()

    @property
    def shape(self) -> Shape:
        """The shape of the weight that it changes."""
        return (len(self.up), self.down.shape[1] // math.prod(self.kernel), *self.kernel)


class Parts(Protocol):
    """The parts of one module, read from its file."""

    @property
    def key(self) -> str:
        """The name of the module in the file."""
        ...

    @property
    def scale(self) -> float:
        """What its product is multiplied by: alpha / rank."""
        ...

    @property
    def alpha(self) -> float | None:
        """The alpha that the file states."""
        ...

    @property
    def shapes(self) -> Shapes:
        """The shapes of its parts."""
        ...

    def array(self, part: str) -> Floats:
        """A part in float32."""
        ...

    def pieces(self) -> list[str]:
        """The names of the tensors of a layer that is changed in pieces, in order."""
        ...

    def tensor(self, name: str) -> Floats:
        """A tensor of the file in float32."""
        ...


class Kind:
    """A kind of module. What it does not override: it has no factors, needs no base, and its change grows with the strength."""

    layouts: tuple[str, ...] = ()
    needs_base = False
    """Whether the change depends on the weight that it changes."""

    def rank(self, shapes: Shapes) -> int:
        """The rank, which alpha is divided by; 0 for a kind without one."""
        del shapes
        return 0

    def shape(self, shapes: Shapes, key: str) -> Shape | None:
        """The shape of the change, None where only the weight has it.

        Raises:
            WeightsError: a part is missing, or the parts do not fit together.
        """
        raise NotImplementedError

    def factors(self, module: Parts) -> Factors | None:
        """The change as one low-rank product; None for a kind that is none."""
        del module

    def delta(self, module: Parts, base: Floats | None) -> Floats:
        """The change at strength 1, in the shape of the parts; `base` is the weight, for a kind that needs it."""
        raise NotImplementedError

    def effect(self, module: Parts, base: Floats | None, strength: float) -> Floats:
        """The change at a strength."""
        return strength * self.delta(module, base)


def lacking(key: str, what: str) -> WeightsError:
    """The error for a module that lacks something."""
    return WeightsError(f"The module {printable(key, 120)} of the network {what}.", HINT)


def needed(shapes: Shapes, key: str, *parts: str) -> list[Shape]:
    """The shapes of parts that a module must have.

    Raises:
        WeightsError: it lacks one, or one is empty.
    """
    if missing := [part for part in parts if part not in shapes]:
        raise lacking(key, f"lacks its part {missing[0]}")
    if empty := [part for part in parts if 0 in shapes[part]]:
        raise lacking(key, f"is empty: its part {empty[0]} has the shape {list(shapes[empty[0]])}")
    return [shapes[part] for part in parts]


def product(left: Shape, right: Shape, key: str) -> Shape:
    """The shape of a product of two matrices, whose later dimensions are those of a kernel.

    Raises:
        WeightsError: the matrices do not fit.
    """
    if len(left) < 2 or len(right) < 2 or left[1] != right[0] or math.prod(left[2:]) != 1:
        raise lacking(key, f"has parts that do not fit: {list(left)} and {list(right)}")
    return (left[0], *right[1:])


def matrix(values: Floats) -> Floats:
    """A tensor as a matrix: its first dimension, and all others as one."""
    return values.reshape(len(values), -1)
