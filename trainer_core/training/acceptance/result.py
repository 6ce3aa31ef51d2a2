"""The result of acceptance, and functions that the checks share."""

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
    """Whether an output is what the plan asks for; `reasons` are sentences why not, `notes` say what could not be checked.

    `rank` and `alpha` are those of one module, of a linear one if possible. `modules` is the number of the network's
    modules, of the model's tensors that were compared with the base model, or of the embedding's vectors; `moved` is how
    many of them have changed, None if that is not known.
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
    """A table of a recorded plan; empty if it is missing. It does not contain settings without a value."""
    table = plan.get(name)
    return table if isinstance(table, Mapping) else {}


def number(value: Any) -> float | None:
    """The value as a finite number; None if it is not one."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def some(names: Sequence[str]) -> str:
    """The first few of the names as text, and how many more there are; the names come from a file."""
    shown = ", ".join(printable(name, 120) for name in names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"
