"""The samples of a run on a page: a card with the grid of prompts and steps, which grows while the run makes more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core.errors import JobError
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.training.prompts import SamplePrompt, prompts_of
from trainer_core.training.results import BEFORE, samples_of
from trainer_ui.components.sample_grid import Column, Row, SampleGrid
from trainer_ui.formatting import Paragraph, show
from trainer_ui.pasts import span
from trainer_ui.widgets import Box, VBox

if TYPE_CHECKING:
    from trainer_core.training.run import Run
    from trainer_ui.session import Session

CONTROL = "control: no trigger word"


class SampleView:
    """All samples of a run. `beat` looks for new ones, and may be called by any thread: it makes no widget."""

    def __init__(self, session: Session, run: Callable[[], Run | None] | None = None) -> None:
        self._run = run or (lambda: session.run)
        self.about, self.hint = Paragraph("", "muted", "small"), Paragraph("", "muted", "small")
        self.grid = SampleGrid()
        head = Box([Paragraph("Samples", "heading"), self.about, self.hint], classes=("easel-card-head",))
        self.widget = VBox([head, self.grid], classes=("easel-card", "easel-sample-view"))
        self._seen: object = None
        self._path: Path | None = None
        self._prompts: tuple[SamplePrompt, ...] = ()
        self._every = 0
        show(self.widget, False)

    def show(self) -> None:
        """Shows the samples of the run; nothing for a run that makes none."""
        self.beat()

    def beat(self) -> None:
        """Shows what is new. Only the small number of samples is compared, so it can be called often."""
        run = self._run()
        if run is None:
            self._seen = self._path = None
            show(self.widget, False)
            return
        summary = run.summary
        live = run.state not in FINAL_STATES
        later = self._later(summary.step, summary.total, summary.seconds_per_step) if live else None
        seen = run.folder.path, len(summary.samples), later, live
        if self._seen == seen:
            return
        anew, self._seen = self._path != run.folder.path, seen
        if anew:
            self._read(run)
            later = self._later(summary.step, summary.total, summary.seconds_per_step) if live else None
        found = samples_of(run)
        show(self.widget, bool(found) or (live and bool(self._every)))
        rows = row_numbers(found, self._prompts)
        columns = [column(step, found[step], rows) for step in sorted(found)]
        total = summary.step if live else summary.last_step or summary.step
        named = [prompt_row(self._prompts, row) for row in rows]
        self.grid.show_grid(named, columns, next_one=later, total=total, anew=anew)

    def _read(self, run: Run) -> None:
        """Reads what does not change: the prompts, and how often samples are made."""
        self._path, self._prompts = run.folder.path, prompts_of(run)
        try:
            every = run.folder.plan.get("sampling", {}).get("every_steps")
        except JobError:
            every = 0
        self._every = every if isinstance(every, int) and every > 0 else 0
        sizes = {(one.width, one.height) for one in self._prompts if one.width and one.height}
        size = "{} x {} px".format(*next(iter(sizes))) if len(sizes) == 1 else ""
        self.about.show_text(", ".join(filter(None, (f"every {self._every:,} steps" if self._every else "", size))))
        controls = [number for number, one in enumerate(self._prompts, 1) if not one.has_trigger]
        self.hint.show_text(
            f"Row {', '.join(map(str, controls))} has no trigger word: it should not change." if controls else ""
        )

    def _later(self, step: int, total: int, seconds_per_step: float | None) -> tuple[str, str] | None:
        """The step of the next samples, and when they are made; None if there are none."""
        if not self._every:
            return None
        at = (step // self._every + 1) * self._every
        if total and at > total:
            return None
        wait = (at - step) * seconds_per_step if seconds_per_step else None
        # Rounded, so that few messages are sent.
        if wait is not None and wait > 20:
            wait = round(wait / 10) * 10
        return f"{at:,}", f"next samples in {span(wait)}" if wait is not None else "next samples"


def row_numbers(samples: Mapping[int, Mapping[int, Path]], prompts: tuple[SamplePrompt, ...]) -> list[int]:
    """The indices of the prompts that have a row: those with samples; before the first sample, those of the plan."""
    found = sorted({row for of in samples.values() for row in of})
    return found or list(range(len(prompts)))


def prompt_row(prompts: tuple[SamplePrompt, ...], row: int) -> Row:
    """The row of a prompt; the plan of a run from elsewhere may not have it."""
    if row >= len(prompts):
        return Row(f"Prompt {row + 1}")
    one = prompts[row]
    notes = (f"seed {one.seed}" if one.seed is not None else "", "" if one.has_trigger else CONTROL)
    return Row(one.text, ", ".join(filter(None, notes)))


def column(step: int, images: Mapping[int, Path], rows: list[int]) -> Column:
    """The column of a step; that before the training is called so."""
    placed = {place: images[row] for place, row in enumerate(rows) if row in images}
    return Column(step, "before" if step == BEFORE else f"{step:,}", placed)
