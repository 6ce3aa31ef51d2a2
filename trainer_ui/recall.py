"""What was set for a subject the last time it was trained, taken up when it is chosen again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_core import subjects
from trainer_core.plan import fields
from trainer_core.plan.draft import Source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer_core.workbench import Workbench

STANDS_ON = ("dataset.path", "dataset.trigger")
"""The settings that say what is trained."""


class SubjectMemory:
    """The values of a subject that were taken up, until they are put away or another subject is chosen."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.subject = ""
        self.recalled: Mapping[str, Any] = {}

    @property
    def sentence(self) -> str:
        """What was taken up, "" where nothing was."""
        known = fields.all_fields()
        told = ", ".join(f"{known[path].title} {value}" for path, value in self.recalled.items())
        return f"Taken up from the last training of {self.subject}: {told}." if told else ""

    def follow(self) -> None:
        """Takes up the values of the subject that is chosen now; what the user has set already stays.

        Raises:
            SubjectError: what was kept is damaged; nothing is taken up then.
        """
        subject = subjects.subject_of(self.bench.draft.values)
        if subject == self.subject:
            return
        self.put_away()
        self.subject = subject
        kept = subjects.recall(subject) if subject else {}
        mine = self.bench.draft.layers.get(Source.USER, {})
        values = {path: value for path, value in kept.items() if path not in mine}
        if values:
            self.bench.set(values)
            self.recalled = values

    def put_away(self) -> None:
        """Drops the values that were taken up, as far as the user has not changed them since."""
        mine = self.bench.draft.layers.get(Source.USER, {})
        still = [path for path, value in self.recalled.items() if path in mine and mine[path] == value]
        self.recalled = {}
        if still:
            self.bench.reset(*still)

    def keep(self) -> None:
        """Keeps the user's values for the next training of this subject.

        Raises:
            SubjectError: they cannot be written.
        """
        if subject := subjects.subject_of(self.bench.draft.values):
            subjects.remember(subject, self.bench.draft.layers.get(Source.USER, {}))
