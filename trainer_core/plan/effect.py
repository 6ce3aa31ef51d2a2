"""The Problem of a changed setting that has no effect, for the rules of the core and of every engine."""

from __future__ import annotations

from trainer_core.plan import fields
from trainer_core.problems import Fix, Problem, Severity


def leave_out(path: str) -> Fix:
    """The fix that sets a setting back to its default."""
    return Fix("Leave it out", {path: fields.all_fields()[path].default})


def no_effect(path: str, why: str, severity: Severity = "warning") -> Problem:
    """The Problem of a changed setting that does nothing in this plan; `why` completes the sentence."""
    return Problem(path, severity, f"{fields.all_fields()[path].title} has no effect: {why}", leave_out(path))
