"""Another engine for a job: which of its values the other engine does not have, and why. They are kept, for the way back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer_core.plan import fields
from trainer_core.prepare import entering
from trainer_core.prepare import problems as job_problems

if TYPE_CHECKING:
    from trainer_core.prepare.state import State
    from trainer_core.prepare.workbench import Workbench
    from trainer_core.problems import Problem

SHOWN = 6
"""How many values a message lists."""


@dataclass(frozen=True)
class Lost:
    """A value that has no effect with the other engine: its path, title, value as text, and why, as a sentence."""

    path: str
    title: str
    value: str
    why: str


@dataclass(frozen=True)
class Switched:
    """What another engine means for a job. `back` is the engine that was chosen before, "" for Easel's choice."""

    old: str
    new: str
    back: str
    lost: tuple[Lost, ...]

    @property
    def message(self) -> str:
        """What carries over, as sentences."""
        if not self.lost:
            return f"{self.new} trains this now, with all of your values."
        named = "; ".join(f"{one.title} {one.value} ({one.why.rstrip('.')})" for one in self.lost[:SHOWN])
        more = f"; and {len(self.lost) - SHOWN} more" if len(self.lost) > SHOWN else ""
        many = "One value does" if len(self.lost) == 1 else f"{len(self.lost)} values do"
        kept = "It is" if len(self.lost) == 1 else "They are"
        return f"{self.new} trains this now. {many} not carry over: {named}{more}. {kept} kept for {self.old}."


def switch(bench: Workbench, name: str) -> Switched | None:
    """Uses an engine (by id; "" lets Easel choose), and returns what that means; None if the same engine trains as before.

    Raises:
        BackendError: there is no such engine.
    """
    before = bench.state
    bench.use_engine(name)
    old, new = before.backend, bench.state.backend
    if old is None or new is None or old is new:
        return None
    back = before.engine.manifest.id if before.engine else ""
    return Switched(old.manifest.title, new.manifest.title, back, tuple(lost(before, bench.state)))


def lost(before: State, after: State) -> Iterator[Lost]:
    """The values of a job that had an effect with its engine, and have none in the same job with another engine."""
    old = before.backend
    if old is not None and old is not after.backend:
        yield from _settings(before, after)
        yield from native_of(before, old.manifest.id)


def unused(state: State) -> Iterator[Lost]:
    """The changed values of a job that its engine does not support or warns of, other than its files."""
    engine, draft = state.backend, state.draft
    if engine is None:
        return
    anyway = {(problem.path, problem.message) for problem in draft.problems(None)}
    files = {setting.path for setting in fields.paths()}
    said = {
        problem.path: problem.message
        for problem in reversed(draft.problems(engine))
        if problem.severity != "info" and (problem.path, problem.message) not in anyway
    }
    scope = state.scope
    for path, field in fields.all_fields().items():
        if path not in files and scope.is_set(path):
            why = scope.unsupported(path) or said.get(path, "")
            if why:
                yield Lost(path, field.title, entering.shown(scope.values[path]), why)
    native = draft.usable_values.get("native", {})
    for other in native:
        if other != engine.manifest.id:
            yield from native_of(state, other)


def _settings(before: State, after: State) -> Iterator[Lost]:
    """The changed settings that had an effect, and have none now or bring a Problem that they did not bring before."""
    said_before = job_problems.untried(before, finds_fixes=False)
    known = {(problem.path, problem.message) for problem in said_before}
    new = {
        problem.path: problem.message
        for problem in reversed(job_problems.untried(after, finds_fixes=False))
        if (problem.severity != "info" or _says_no_effect(problem)) and (problem.path, problem.message) not in known
    }
    idle = {problem.path for problem in said_before if _says_no_effect(problem)}
    old, now = before.scope, after.scope
    for path, field in fields.all_fields().items():
        if old.is_set(path) and old.applies(path) and now.is_set(path) and path not in idle:
            why = now.why_not(path) or new.get(path, "")
            if why:
                yield Lost(path, field.title, entering.shown(now.values[path]), why)


def _says_no_effect(problem: Problem) -> bool:
    """Whether a note is about a value that does nothing beside the other values, so that its fix is the default."""
    if problem.severity != "info" or problem.fix is None or problem.path not in fields.all_fields():
        return False
    return dict(problem.fix.assignments) == {problem.path: fields.all_fields()[problem.path].default}


def native_of(before: State, engine: str) -> Iterator[Lost]:
    """The options of one engine that a job sets."""
    native = before.draft.usable_values.get("native", {})
    for path, value in _flat(f"native.{engine}", native.get(engine, {})):
        yield Lost(path, path.rpartition(".")[2], entering.shown(value), f"an option of {engine}.")


def _flat(head: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{head}.{name}", value)
        else:
            yield f"{head}.{name}", value
