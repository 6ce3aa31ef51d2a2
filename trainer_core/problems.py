"""A user's mistake as data: what is wrong, where, and how to fix it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Task:
    """The work of a tool that a fix does first: the tool's id and arguments.

    `setting` gets the path of the file that it makes, or a list of files that path in addition; "" if the work itself mends the
    problem. `typed` is the command that does the same in a terminal, where it is none of `easel tools`.
    """

    tool: str
    arguments: Mapping[str, str]
    setting: str
    typed: str = ""

    @property
    def command(self) -> str:
        """The command that does the same in a terminal."""
        if self.typed:
            return self.typed
        words = [self.arguments["file"]] if "file" in self.arguments else []
        words += [word for name, text in self.arguments.items() if name != "file" for word in (f"--{name}", text)]
        return f"easel tools {self.tool} {shlex.join(words)}"


@dataclass(frozen=True)
class Fix:
    """A fix that the user can accept with one click: `label` is on the button, `changes` maps setting paths to new values.

    `task` is the work that a tool does first, as a job; `engine` is the id of the engine to train with instead. With none of
    them it is advice that the user has to follow.
    """

    label: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    task: Task | None = None
    engine: str = ""

    @property
    def is_advice(self) -> bool:
        """Whether nothing can be done by a click."""
        return not self.changes and self.task is None and not self.engine

    @property
    def assignments(self) -> dict[str, Any]:
        """The changes by the paths that a user types: each of an engine's own settings has one ("native.<engine>.lowram")."""
        found: dict[str, Any] = {}
        for path, value in self.changes.items():
            if path == "native":
                found |= {
                    f"native.{engine}.{name}": each for engine, table in value.items() for name, each in table.items()
                }
            else:
                found[path] = value
        return found


def download(label: str, link: str, setting: str) -> Fix:
    """The fix that downloads a model file from a link into Easel's models folder, and sets a setting to its path."""
    return Fix(label, task=Task("bring", {"link": link}, setting, f"easel models download {shlex.quote(link)}"))


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a draft.

    `path` is the dotted path of the setting it belongs to ("network.alpha"), or "" for the whole plan.
    "error" blocks the launch; "warning" and "info" do not.
    """

    path: str
    severity: Severity
    message: str
    fix: Fix | None = None

    def as_dict(self) -> dict[str, Any]:
        """The problem as JSON data: {"path", "severity", "message", "fix"}; a fix with a task also has its "command", one with another engine its "engine"."""
        fix: dict[str, Any] | None = None
        if self.fix is not None:
            fix = {"label": self.fix.label, "changes": dict(self.fix.changes)}
            if self.fix.engine:
                fix["engine"] = self.fix.engine
            if self.fix.task is not None:
                fix |= {"command": self.fix.task.command, "sets": self.fix.task.setting}
        return {"path": self.path, "severity": self.severity, "message": self.message, "fix": fix}


def blocking(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems that block the launch."""
    return tuple(problem for problem in problems if problem.severity == "error")
