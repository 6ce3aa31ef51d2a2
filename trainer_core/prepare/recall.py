"""The values that a subject was last trained with, set again when the subject is chosen again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_core.draft.layers import Source
from trainer_core.plan import fields
from trainer_core.plan.subject import subject_of
from trainer_core.prepare import subjects

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer_core.prepare.workbench import Workbench


class SubjectMemory:
    """The recalled values of the current subject."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.subject = ""
        self._key = ""
        self.recalled: Mapping[str, Any] = {}

    @property
    def sentence(self) -> str:
        """The recalled values, as a sentence; "" if there are none."""
        known = fields.all_fields()
        told = ", ".join(f"{known[path].title} {value}" for path, value in self.recalled.items())
        return f"From the last training of {self.subject}: {told}." if told else ""

    def follow(self) -> None:
        """Sets the remembered values of the current subject; values that the user has set are not changed.

        Raises:
            SubjectError: the file of the subject is damaged; nothing is set.
        """
        subject, key = subject_of(self.bench.state.draft.values), self._now()
        if key == self._key:
            return
        self.put_away()
        self.subject, self._key = subject, key
        kept = subjects.recall(key) if key else {}
        mine = self.bench.state.draft.layers.get(Source.USER, {})
        values = {path: value for path, value in kept.items() if path not in mine}
        if values:
            self.bench.set(values)
            self.recalled = values

    def put_away(self) -> None:
        """Removes the recalled values, except those that the user has changed since."""
        mine = self.bench.state.draft.layers.get(Source.USER, {})
        still = [path for path, value in self.recalled.items() if path in mine and mine[path] == value]
        self.recalled = {}
        if still:
            self.bench.reset(*still)

    def keep(self) -> None:
        """Remembers the user's values for the next training of this subject.

        Raises:
            SubjectError: the file of the subject cannot be written.
        """
        if key := self._now():
            subjects.remember(key, self.bench.state.draft.layers.get(Source.USER, {}))

    def _now(self) -> str:
        """The subject, with the method unless a LoRA is trained: a learning rate of one method is wrong for another."""
        values = self.bench.state.draft.values
        subject, method = subject_of(values), values["model.method"]
        return f"{subject} ({method})" if subject and method != "lora" else subject
