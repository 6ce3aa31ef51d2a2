"""A user's mistake as data: what is wrong, where, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Fix:
    """A mend the user can accept with one click: `label` on the button, `changes` from setting path to new value.

    Without `changes` it is advice that only the user can follow.
    """

    label: str
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def assignments(self) -> dict[str, Any]:
        """The changes as they are typed: an engine's own settings each by its own path ("native.kohya.lowram")."""
        found: dict[str, Any] = {}
        for path, value in self.changes.items():
            if path == "native":
                found |= {
                    f"native.{engine}.{name}": each for engine, table in value.items() for name, each in table.items()
                }
            else:
                found[path] = value
        return found


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a draft.

    `path` is the dotted path of the setting it belongs to ("network.alpha"), or "" for the whole plan.
    "error" blocks the launch; "warning" and "info" do not.
    """

    path: str
    severity: Severity
    message: str
    fix: Fix | None = None

    def as_dict(self) -> dict[str, Any]:
        """The problem as JSON data: {"path", "severity", "message", "fix"}."""
        fix = None if self.fix is None else {"label": self.fix.label, "changes": dict(self.fix.changes)}
        return {"path": self.path, "severity": self.severity, "message": self.message, "fix": fix}


def blocking(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems that forbid a launch."""
    return tuple(problem for problem in problems if problem.severity == "error")
