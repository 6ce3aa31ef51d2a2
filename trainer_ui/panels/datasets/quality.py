"""The quality of the images: measured once, and judged anew whenever a threshold is moved."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trainer_core.errors import DatasetError
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.card import fold, row
from trainer_ui.widgets import Button, Text, VBox, Widget

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from trainer_ui.dataset_session import DatasetSession

FOUND, UNSURE = "found", "unsure"


class QualityPanel:
    """Measures the images, and shows how many each finding names. `see_only` shows images, with a title."""

    def __init__(self, session: DatasetSession, see_only: Callable[[str, Collection[str]], object]) -> None:
        self.session, self._see_only = session, see_only
        self.button = Button(description="Look at every image")
        self.button.on_click(session.handler(lambda _: self._measure()))
        self.said = Paragraph("", "small", role="status")
        self.rows: list[FindingRow] = []
        self.findings = fold(session, "Findings and their thresholds", self._make)
        self.widget = VBox(
            [
                Paragraph("Quality", "heading"),
                Paragraph(
                    "Decodes every image once: finds damage that its header does not show, and measures sharpness, light and "
                    "compression. What is found is a reason to look, never a verdict: nothing is moved by itself.",
                    "small",
                    "muted",
                ),
                self.button,
                self.said,
                self.findings,
            ],
            classes=("easel-card", "easel-quality"),
        )

    def _make(self) -> list[Widget]:
        from trainer_core.curation import quality

        self.rows = [FindingRow(self.session, key, self._see_only) for key in quality.FINDINGS]
        return [one.widget for one in self.rows]

    def show(self) -> None:
        """Shows what was measured."""
        session = self.session
        measured = sum(bool(one.scores) for one in session.entries)
        show(self.widget, session.root is not None)
        show(self.findings, bool(measured))
        self.button.disabled = bool(session.doing) or not session.entries
        self.said.show_text(_said(session, measured))
        for one in self.rows:
            one.show()

    def _measure(self) -> None:
        if self.session.root is not None:
            self.session.do("Looking at every image.", lambda root=self.session.root: self._measured(root))

    def _measured(self, root: Path) -> str:
        from trainer_core.curation import scores

        found = scores.measured(root, went_on=self.session.went_on, is_cancelled=self.session.cancelled.is_set)
        damaged = sum(bool(look.info.defects) and not look.scores for look in found.values())
        more = f" {damaged:,} cannot be decoded: see the findings." if damaged else ""
        return f"{len(found):,} images were looked at.{more}"


class FindingRow:
    """A finding: what it means, its threshold, and how many images have it."""

    def __init__(self, session: DatasetSession, key: str, see_only: Callable[[str, Collection[str]], object]) -> None:
        from trainer_core.curation import quality

        self.session, self.key, self._see_only = session, key, see_only
        self.finding = quality.FINDINGS[key]
        limit = self.finding.limits[0]
        measure = quality.MEASURES[limit.measure]
        self.start = limit.sure
        self.threshold = Text(
            description=f"{self.finding.title}: {_small(measure.title)} {limit.side}",
            value=f"{limit.sure:g}",
            continuous_update=False,
        )
        self.threshold.observe(session.handler(self._moved), "value")
        self.count = Paragraph("", "small", "grow")
        self.found = Button(description="Show", classes=("easel-small",))
        self.found.on_click(session.handler(lambda _: self._show((FOUND,))))
        self.both = Button(description="Show unsure, too", classes=("easel-small", "easel-quiet"))
        self.both.on_click(session.handler(lambda _: self._show((FOUND, UNSURE))))
        words = f"{self.finding.meaning[:1].upper()}{self.finding.meaning[1:]}. {self.finding.advice}"
        about = f"{measure.title}: {measure.meaning} From: {measure.source}. The start value: {self.finding.source}."
        field = helped(self.threshold, words, about)
        self.widget = VBox([field, row(self.count, self.found, self.both)], classes=("easel-finding-row",))

    def show(self) -> None:
        """Shows how many images have it."""
        found, unsure = self._paths((FOUND,)), self._paths((UNSURE,))
        parts = [f"{len(found):,} found" if found else "none", f"{len(unsure):,} unsure" if unsure else ""]
        measured = sum(bool(one.scores) for one in self.session.entries)
        most = "Most images have it, so this measure may not suit them." if len(found) > 0.6 * measured > 6 else ""
        self.count.show_text(". ".join(filter(None, (", ".join(filter(None, parts)), most))))
        show(self.found, bool(found))
        show(self.both, bool(unsure))

    def _moved(self, text: str) -> None:
        try:
            number = float(text.replace(",", "."))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.threshold.value = f"{self.session.thresholds.get(self.key, self.start):g}"
            raise DatasetError(f"The threshold is a number, such as {self.start:g}.")
        self.session.thresholds = {**self.session.thresholds, self.key: number}

    def _paths(self, states: Collection[str]) -> list[str]:
        from trainer_core.curation import quality

        moved = self.session.thresholds
        return [
            one.path
            for one in self.session.entries
            if one.scores and quality.found(one.scores, moved).get(self.key) in states
        ]

    def _show(self, states: Collection[str]) -> None:
        self._see_only(self.finding.title.lower(), self._paths(states))


def _small(title: str) -> str:
    """A title inside of a sentence: an abbreviation stays."""
    return title if title[1:2].isupper() else f"{title[:1].lower()}{title[1:]}"


def _said(session: DatasetSession, measured: int) -> str:
    from trainer_core.curation import quality

    if not measured:
        return ""
    whole = len(session.entries)
    told = f"{measured:,} of {whole:,} images are measured." if measured < whole else "All images are measured."
    flagged = sum(
        FOUND in quality.found(one.scores, session.thresholds).values() for one in session.entries if one.scores
    )
    return f"{told} {f'{flagged:,} have a finding.' if flagged else 'None has a finding.'}"
