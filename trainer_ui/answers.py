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
    """Whether the user has chosen a profile or plain defaults, wishes for a use, or has set values; or in an app with several methods, one of these."""
    state = session.bench.state
    if len(session.methods) > 1:
        return session.has_method
    if session.wish or state.profile is not None or state.plain:
        return True
    return any(
        state.draft.source_of(path) is Source.USER
        for path in session.values
        if path.partition(".")[0] in STEPS["recipe"]
    )


def is_begun(session: Session) -> bool:
    """Whether the user has answered or set anything yet."""
    state = session.bench.state
    return has_recipe(session) or any(
        state.draft.source_of(path) is Source.USER for path in session.values if path != METHOD
    )


def needed_answers(session: Session) -> list[str]:
    """The open questions without which nothing starts: without a recipe the recommended values are used, but a method is chosen by the user."""
    is_optional = session.has_method
    return [what for what in open_questions(session) if what != QUESTIONS[""] or not is_optional]


def needed_settings(session: Session) -> tuple[Problem, ...]:
    """The problems of settings that are still empty and must not be, apart from those that answer a question."""
    return tuple(one for one in blocking(session.problems) if session.lacks(one) and one.path not in QUESTIONS)


def shown_problems(session: Session) -> tuple[Problem, ...]:
    """The problems that the page shows: before anything was answered only the open questions, and those only after Start.

    A setting that is needed besides is told once the questions are answered, or after Start.
    """
    if not is_begun(session):
        return tuple(one for one in session.problems if session.asked and one.path in QUESTIONS and session.lacks(one))
    due = needed_settings(session) if session.asked or not needed_answers(session) else ()
    return tuple(
        one
        for one in session.problems
        if not session.lacks(one) or one in due or (session.asked and one.path in QUESTIONS)
    )


def in_the_way(session: Session) -> tuple[Problem, ...]:
    """The problems that prevent a start, apart from settings that are still empty."""
    return tuple(one for one in blocking(session.problems) if not session.lacks(one))


def mark(session: Session, step: str, value: object = True) -> str:
    """The state of a step: "open" without its `value`, else "bad", "needed", "warn" or "done" by its problems."""
    if value in ("", None, False):
        return "open"
    found = [one for one in shown_problems(session) if _is_of(session, one, step)]
    wrong = [MARKS[one.severity] for one in found if not session.lacks(one)]
    if "bad" not in wrong and any(session.lacks(one) for one in found):
        return "needed"
    return next(iter(wrong), "done")


def _is_of(session: Session, problem: Problem, step: str) -> bool:
    if problem.path:
        return problem.path.partition(".")[0] in STEPS[step]
    return step == "memory" and (
        (session.forecast is not None and problem in session.forecast.problems())
        or (bool(problem.message) and problem.message == too_small(session))
    )


def too_small(session: Session) -> str:
    """What is said of a memory preset that is too small for the job; "" if it is not. The estimate is needed with a preset only."""
    state = session.bench.state
    if state.preset is None or not state.family:
        return ""
    from trainer_core.prepare import preset_fit

    return preset_fit.sentence(state)
