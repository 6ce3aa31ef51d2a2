"""A list that stays short: of a long series every second value is kept, then every fourth, and so on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

MOST = 240
Value = TypeVar("Value")


@dataclass
class Thinned(Generic[Value]):
    """At most `MOST` values of a series, evenly spread, in their order."""

    kept: list[Value] = field(default_factory=list)
    _every: int = 1
    _count: int = 0

    def take(self, value: Value) -> None:
        """Adds the next value of the series."""
        if self._count % self._every == 0:
            self.kept.append(value)
            if len(self.kept) > MOST:
                self.kept, self._every = self.kept[::2], self._every * 2
        self._count += 1
