"""What is in a network, as data: see `inspecting`, which measures it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer_core.models.loaders import Answer
from trainer_core.weights.lora.ranks import ENOUGH, LADDER
from trainer_core.weights.lora.training import Trigger

SHARES = (90, 95, 99)
"""The shares of the energy, in percent, for which the number of directions is told."""


@dataclass(frozen=True)
class LayerReport:
    """One layer: `norm` is the root of the sum of squares of its change, None where that depends on the model.

    `directions` is how many directions carry 90, 95 and 99 % of the energy, {} where there is no product. `problem` is what is
    wrong with its numbers, "" if nothing is.
    """

    key: str
    block: str
    kind: str
    rank: int
    alpha: float | None
    scale: float
    shape: tuple[int, ...]
    norm: float | None = None
    directions: Mapping[int, int] = dataclasses.field(default_factory=dict)
    problem: str = ""

    @property
    def is_unused(self) -> bool:
        """Whether the layer changes nothing."""
        return self.norm == 0


@dataclass(frozen=True)
class BlockReport:
    """The layers of a block together: their number, their smallest and largest rank, their norm and its share of the energy of all."""

    block: str
    layers: int
    least_rank: int
    most_rank: int
    norm: float
    share: float


@dataclass(frozen=True)
class Suggestion:
    """A smaller rank: what it keeps of the energy, and the error as a share of the whole change. `curve` has what each rank keeps."""

    rank: int
    kept: float
    error: float
    curve: Mapping[int, float]
    is_conv: bool = False

    @property
    def sentence(self) -> str:
        """The suggestion in a sentence."""
        what = "the convolutions" if self.is_conv else "the linear layers"
        return f"Rank {self.rank} keeps {self.kept:.1%} of what {what} change; the error would be {self.error:.1%} of the change."


@dataclass(frozen=True)
class SmallerRank:
    """What a file would be with this rank in every layer: about its size, what it keeps of the energy, and the error as a share of the change."""

    rank: int
    size_bytes: int
    kept: float
    error: float


@dataclass(frozen=True)
class Report:
    """What is in a network: see the fields. Texts from the file are safe to show.

    `hashes` are the SHA-256 of the file, its first ten digits (AutoV2) and the SHA-256 of the tensors (sshs_model_hash, whose first
    twelve digits are AutoV3). `facts` are titles and values of the training's settings. `triggers` are likely, never sure.
    """

    name: str
    size_bytes: int
    family: str
    kind: str
    rank: int | None
    dtypes: tuple[str, ...]
    layers: tuple[LayerReport, ...]
    blocks: tuple[BlockReport, ...]
    suggestions: tuple[Suggestion, ...]
    smaller: tuple[SmallerRank, ...]
    facts: tuple[tuple[str, str], ...]
    triggers: tuple[Trigger, ...]
    loading: tuple[Answer, ...]
    hashes: Mapping[str, str]
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON data."""
        found = dataclasses.asdict(self)
        for row, each in zip(found["suggestions"], self.suggestions, strict=True):
            row["sentence"] = each.sentence
        return found


def blocks_of(layers: Sequence[LayerReport], order: Sequence[str]) -> tuple[BlockReport, ...]:
    """The layers by block, in the given order of the blocks."""
    whole = sum((each.norm or 0.0) ** 2 for each in layers)
    found = []
    for block in order:
        own = [each for each in layers if each.block == block]
        energy = sum((each.norm or 0.0) ** 2 for each in own)
        ranks = [each.rank for each in own]
        share = energy / whole if whole else 0.0
        found.append(BlockReport(block, len(own), min(ranks), max(ranks), energy**0.5, share))
    return tuple(found)


def smaller(
    squares: Sequence[Sequence[float]], sizes: Callable[[int], int], size_bytes: int
) -> tuple[SmallerRank, ...]:
    """What each usual rank below that of the file makes of it; `sizes` gives the bytes of the layers with a rank, `size_bytes` is the file's."""
    total, most = sum(map(sum, squares)), max(map(len, squares), default=0)
    if not total > 0:
        return ()
    now = sizes(most)
    found = []
    for rank in (each for each in LADDER if each < most):
        kept = sum(sum(each[:rank]) for each in squares) / total
        found.append(SmallerRank(rank, size_bytes - now + sizes(rank), kept, max(1 - kept, 0.0) ** 0.5))
    return tuple(found)


def suggestion(squares: Sequence[Sequence[float]], *, is_conv: bool) -> Suggestion | None:
    """The smallest usual rank that keeps enough, from the squares of the singular values of each layer; None without a smaller one."""
    total = sum(map(sum, squares))
    most = max(map(len, squares), default=0)
    if not total > 0:
        return None
    curve = {rank: sum(sum(each[:rank]) for each in squares) / total for rank in LADDER if rank < most}
    found = next((rank for rank, kept in curve.items() if kept >= ENOUGH), 0)
    if not found:
        return None
    return Suggestion(found, curve[found], max(1 - curve[found], 0.0) ** 0.5, curve, is_conv)
