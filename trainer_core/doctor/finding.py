"""What a check has found: its state, what it means for training, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

State = Literal["problem", "notice", "unknown", "good"]
STATES: tuple[State, ...] = get_args(State)
"""The states, the worst first."""
CONCLUSION = "training"
"""The id of the finding that says which engines can train."""


@dataclass(frozen=True)
class Finding:
    """One thing that a check has found.

    Attributes:
        id: Names it for programs, such as "gpu.0".
        title: What it is about, in a few words.
        state: A "problem" prevents training, with one engine or with all; a "notice" limits it; "unknown" could not be found out.
        found: What was found, as sentences.
        means: What that means for training, as sentences; "" if that is clear.
        fix: A command or a sentence that says what to do; "" if nothing is to be done.
        engine: The id of the only engine that it is about; "" if it is about all.
        private: The paths and addresses of the user in these sentences, as they are there. A report to share replaces them.
    """

    id: str
    title: str
    state: State
    found: str
    means: str = ""
    fix: str = ""
    engine: str = ""
    private: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The finding as JSON data."""
        return {name: value for name, value in asdict(self).items() if name != "private"}


def prevents_training(findings: Iterable[Finding]) -> bool:
    """Whether a problem prevents training with every engine."""
    return any(each.state == "problem" and not each.engine for each in findings)
