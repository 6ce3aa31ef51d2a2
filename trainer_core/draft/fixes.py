"""Keeps only fixes that help: before a fix is offered, it is applied and all rules are checked again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trainer_core.plan import fields
from trainer_core.problems import Problem, Severity

ProblemsAfter = Callable[[Mapping[str, Any]], Sequence[Problem]]
"""Returns the Problems of the job after these changes; the changes are values by dotted path."""
ProblemsWith = Callable[[str], Sequence[Problem]]
"""Returns the Problems of the job with another engine, by its id."""


def sound(found: Sequence[Problem], after: ProblemsAfter, by: ProblemsWith = lambda _: ()) -> list[Problem]:
    """The Problems, without fixes that do not help. Fixes that change neither values nor the engine are kept: they are advice."""
    return [each if _helps(each, found, after, by) else replace(each, fix=None) for each in found]


def _helps(problem: Problem, found: Sequence[Problem], after: ProblemsAfter, by: ProblemsWith) -> bool:
    fix = problem.fix
    if fix is not None and fix.engine:
        # What else the other engine needs, such as its installation or its companion files, is asked for afterwards.
        return all(each.severity != "error" for each in by(fix.engine) if each.path == problem.path)
    return fix is None or not fix.changes or _is_sound(problem, found, after)


def _is_sound(problem: Problem, found: Sequence[Problem], after: ProblemsAfter) -> bool:
    """Whether the fix of a Problem helps.

    After some changes files are read again, such as the dataset. The rules only know what was read before, so these fixes
    must only bring no new error.
    """
    assert problem.fix is not None
    changes = problem.fix.changes
    if fields.decided_by(changes):
        return not _errors(after(changes)) - _errors(found)
    return helps(problem.severity, found, after(changes))


def helps(severity: Severity, before: Iterable[Problem], after: Iterable[Problem]) -> bool:
    """Whether a change reduces the number of Problems of this severity and causes no new error."""
    before, after = list(before), list(after)
    return not _errors(after) - _errors(before) and _count(severity, after) < _count(severity, before)


def _errors(problems: Iterable[Problem]) -> set[tuple[str, str]]:
    return {(each.path, each.message) for each in problems if each.severity == "error"}


def _count(severity: Severity, problems: Iterable[Problem]) -> int:
    return sum(each.severity == severity for each in problems)
