"""How far the preparation of a job is: which of the four questions are answered, and the state of each step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.draft.layers import Source
from trainer_core.problems import blocking

if TYPE_CHECKING:
    from trainer_core.problems import Problem
    from trainer_ui.session import Session

QUESTIONS = {"model.path": "a model", "dataset.path": "images", "": "a recipe", "output.name": "a name"}
"""The setting that answers each of the four questions, and what is missing until then; "" is the profile."""
STEPS = {
    "model": ("model",),
    "dataset": ("dataset",),
    "recipe": ("network", "embedding", "optimizer", "schedule"),
    "samples": ("sampling",),
    "memory": ("memory",),
    "output": ("output", "guards"),
}
"""The sections of the settings of each step."""
METHOD = "model.method"
"""The app sets it, also before the user has begun."""
MARKS = {"error": "bad", "warning": "warn", "info": "done"}


def open_questions(session: Session) -> list[str]:
    """What is still missing, in the words of QUESTIONS."""
    return [what for path, what in QUESTIONS.items() if not (session.values[path] if path else has_recipe(session))]


def has_recipe(session: Session) -> bool:
    """Whether the user has chosen a method, a profile or plain defaults, wishes for a use, or has set values themselves."""
    state = session.bench.state
    if session.wish or session.is_method_chosen or state.profile is not None or state.plain:
        return True
    return any(
        state.draft.source_of(path) is Source.USER
        for path in session.values
        if path.partition(".")[0] in STEPS["recipe"]
    )


def is_begun(session: Session) -> bool:
    """Whether the user has answered or set anything yet, or has pressed Start."""
    state = session.bench.state
    return (
        session.asked
        or has_recipe(session)
        or any(state.draft.source_of(path) is Source.USER for path in session.values if path != METHOD)
    )


def shown_problems(session: Session) -> tuple[Problem, ...]:
    """The problems that the page shows: none before anything was answered, and no question before Start was pressed."""
    if not is_begun(session):
        return ()
    return tuple(one for one in session.problems if session.asked or not session.lacks(one))


def in_the_way(session: Session) -> tuple[Problem, ...]:
    """The problems that prevent a start, apart from settings that are still empty."""
    return tuple(one for one in blocking(session.problems) if not session.lacks(one))


def mark(session: Session, step: str, value: object = True) -> str:
    """The state of a step: "open" without its `value`, else "bad", "warn" or "done" by its problems."""
    if value in ("", None, False):
        return "open"
    found = [one for one in shown_problems(session) if not session.lacks(one) and _is_of(session, one, step)]
    return next((MARKS[one.severity] for one in found), "done")


def _is_of(session: Session, problem: Problem, step: str) -> bool:
    if problem.path:
        return problem.path.partition(".")[0] in STEPS[step]
    return step == "memory" and session.forecast is not None and problem in session.forecast.problems()
