"""Folds what is settled once the user goes on with something else, so that the page shows what is still open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.draft.layers import Source
from trainer_ui.answers import QUESTIONS, STEPS, mark

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainer_ui.session import Session

SETTLED = ("done", "warn")
"""The states of a step (`answers.mark`) in which nothing has to be done in it."""
AT_ONCE = 3
"""The model and values in so many steps change together only when a run or a draft is taken over."""

ANSWERS = {path.partition(".")[0]: path for path in QUESTIONS if path}
"""The setting that answers the question of a step."""
Chosen = tuple[object, ...]


class Settling:
    """Folds a step when it is settled and the user changes another one. What the user opens again stays open until then.

    It is a view, and the step with the keyboard is never folded: a change in it is no change of another one.
    """

    def __init__(self, session: Session, folds: Mapping[str, Callable[[bool], object]]) -> None:
        """`folds` has what folds (True) each step that answers a question."""
        self.session, self.folds = session, folds
        self._before = self._chosen()
        self._waits: set[str] = set()

    def begin(self) -> None:
        """Folds what was settled before the user did anything."""
        self._before, self._waits = self._chosen(), set()
        for step in self.folds:
            self.folds[step](self._is_settled(step))

    def show(self) -> None:
        """Folds the steps that the user has left."""
        now = self._chosen()
        changed = {step for step in STEPS if now[step] != self._before[step]}
        self._before = now
        self._waits |= changed & set(self.folds)
        taken_over = "model" in changed and len(changed) >= AT_ONCE
        for step in tuple(self._waits):
            if changed and (step not in changed or taken_over) and self._is_settled(step):
                self._waits.discard(step)
                self.folds[step](True)
        for step in changed & set(self.folds):
            # Its answer was taken back, as by starting afresh: it is a question again.
            if self._mark(step) == "open":
                self._waits.discard(step)
                self.folds[step](False)

    def _is_settled(self, step: str) -> bool:
        return self._mark(step) in SETTLED

    def _mark(self, step: str) -> str:
        return mark(self.session, step, self.session.values[ANSWERS[step]])

    def _chosen(self) -> Mapping[str, Chosen]:
        """What the user has chosen in each step."""
        state = self.session.bench.state
        own = {path: value for path, value in self.session.values.items() if state.draft.source_of(path) is Source.USER}
        found: dict[str, Chosen] = {
            step: tuple((path, repr(value)) for path, value in own.items() if path.partition(".")[0] in sections)
            for step, sections in STEPS.items()
        }
        found["recipe"] += (state.profile.id if state.profile else "", self.session.wish, state.plain)
        return found
