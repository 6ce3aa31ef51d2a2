"""What acceptance says of an output, and how it names what it found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer_core.text import printable

Kind = Literal["network", "checkpoint", "embedding"]
NAMED = 3


@dataclass(frozen=True)
class Acceptance:
    """Whether an output is what was asked for; `reasons` says in sentences why not, `notes` what could not be found out.

    `rank` and `alpha` are those of a module that has them, of a linear one if possible. `modules` are the network's layers, the model's
    tensors that were compared with the base model's, or the embedding's vectors; `moved` is how many of them are known
    to have changed, None where nothing tells.
    """

    ok: bool
    reasons: tuple[str, ...]
    rank: int | None = None
    alpha: float | None = None
    tensors: int = 0
    modules: int = 0
    moved: int | None = 0
    size_bytes: int = 0
    kind: Kind = "network"
    notes: tuple[str, ...] = ()


def section(plan: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A table of a recorded plan; empty when it is not there. Settings without a value are not in it."""
    table = plan.get(name)
    return table if isinstance(table, Mapping) else {}


def number(value: Any) -> float | None:
    """A finite number from a value of any kind, else None."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def some(names: Sequence[str]) -> str:
    """The first few of some names from a file, as text, and how many more there are."""
    shown = ", ".join(printable(name, 120) for name in names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"
