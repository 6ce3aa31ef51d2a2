"""Which rank a layer gets, from its singular values: a fixed one, or as many directions as carry enough of its effect.

The names are those of sd-scripts networks/resize_lora.py. There a dynamic rank is one or two larger than the smallest that fulfils the
condition, and at least two; here it is the smallest one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trainer_core.errors import WeightsError, wrong_use

FIXED = "rank"
METHODS: Mapping[str, str] = {
    FIXED: "the same rank for every layer",
    "sv_fro": "the smallest rank that keeps this share of the size of a layer's change (the root of the sum of squares)",
    "sv_cumulative": "the smallest rank that keeps this share of the sum of the singular values",
    "sv_ratio": "all directions that are at most this many times weaker than the strongest one",
}
MOST_RANK = 1 << 14
LADDER = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024)
"""The ranks that are compared for a suggestion."""
ENOUGH = 0.99
"""The share of the energy that a suggested rank keeps; the error is then at most 10 % of the whole change."""


@dataclass(frozen=True)
class Rule:
    """How the rank of a layer is chosen: `method` with its `value`; `most` and `most_conv` are the largest ranks, 0 for any.

    With the fixed method `most` is the rank; `most_conv` is that of layers with a kernel, 0 for the same.
    """

    method: str = FIXED
    value: float = 0.0
    most: int = 0
    most_conv: int = 0

    def check(self) -> None:
        """Checks that the rule is possible.

        Raises:
            WeightsError: it is not.
        """
        if self.method not in METHODS:
            raise wrong_use(
                WeightsError(f"{self.method!r:.60} is no way to choose a rank.", f"Use {', '.join(METHODS)}.")
            )
        if not (0 <= self.most <= MOST_RANK and 0 <= self.most_conv <= MOST_RANK):
            raise wrong_use(WeightsError("This rank is not possible.", f"Use 1 to {MOST_RANK:,}."))
        if self.method == FIXED:
            if not self.most:
                raise wrong_use(WeightsError("The rank is missing.", "State a rank of 1 or more."))
            return
        least, greatest = (1.0, math.inf) if self.method == "sv_ratio" else (0.0, 1.0)
        if not least < self.value <= greatest or not math.isfinite(self.value):
            bounds = "more than 1" if self.method == "sv_ratio" else "more than 0 and at most 1, such as 0.95"
            raise wrong_use(
                WeightsError(f"{self.value:g} is not possible with {self.method}.", f"Use a number of {bounds}.")
            )

    def limit(self, is_conv: bool) -> int:
        """The largest rank of a layer; `MOST_RANK` for any."""
        return (self.most_conv if is_conv and self.most_conv else self.most) or MOST_RANK

    def rank(self, values: Sequence[float], is_conv: bool) -> int:
        """The rank for a layer with these singular values, at least 1 and at most as many as there are."""
        found = len(values) if self.method == FIXED else smallest(values, self.method, self.value)
        return max(1, min(found, len(values), self.limit(is_conv)))


def smallest(values: Sequence[float], method: str, value: float) -> int:
    """The smallest number of directions that fulfils a condition; 1 for a change that is zero."""
    total = math.fsum(_weights(values, method))
    if not total > 0:
        return 1
    if method == "sv_ratio":
        return sum(each * value >= values[0] for each in values)
    # A target of 1 means all that is not zero; sums of floating-point numbers may miss it by a rounding.
    target = total * (value * value if method == "sv_fro" else value)
    sums = itertools.accumulate(_weights(values, method))
    return next((number for number, each in enumerate(sums, 1) if each >= target * (1 - 1e-9)), len(values))


def kept(values: Iterable[float], rank: int) -> float:
    """The share of the energy (the sum of squares) that the first `rank` directions carry; 1 for a change that is zero."""
    squares = [each * each for each in values]
    total = math.fsum(squares)
    return math.fsum(squares[:rank]) / total if total > 0 else 1.0


def _weights(values: Iterable[float], method: str) -> list[float]:
    return [each * each if method == "sv_fro" else each for each in values]
