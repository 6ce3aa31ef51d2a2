"""What a run made: its files, its checkpoints, and its samples by step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.training.delivery import copy_to
from trainer_core.training.run import Run, list_runs
from trainer_core.training.verdict import verdict
from trainer_ui import pasts
from trainer_ui.components.gallery import Gallery, Shown
from trainer_ui.feed import prompt_of
from trainer_ui.formatting import Figures, Headline, Pairs, Paragraph, show
from trainer_ui.panels.card import card, empty
from trainer_ui.panels.fetch import gigabytes
from trainer_ui.panels.watch import Go
from trainer_ui.widgets import Box, Button, VBox

if TYPE_CHECKING:
    from trainer_core.events import Checkpoint
    from trainer_ui.session import Session

READY_ROWS = 4
"""Rows of checkpoints that are made at the start of the place: a thread may find more, and may make no widget."""
Action = tuple[str, Callable[[], object]]
"""The words on a button, and what it does."""


def checkpoint_actions(session: Session, run: Run, checkpoint: Checkpoint) -> tuple[Action, ...]:
    """What can be done with a checkpoint, as buttons from left to right: one entry for each."""
    path = run.folder.path / checkpoint.path

    def copy() -> None:
        session.note(f"Copied to {copy_to(path, places.outputs())}.")

    # The checkpoints of a finished run are there already.
    return (("Copy to outputs", copy),) if run.state is not JobState.COMPLETED and path.exists() else ()


class ResultsBar:
    """How the run ended, and the way back to its settings."""

    def __init__(self, session: Session, results: ResultsPanel, go: Go) -> None:
        self.session, self.results, self.go = session, results, go
        self.state, self.figures = Headline(), Figures()
        self.again = Button(description="Train again with changes", button_style="primary", classes=("easel-big",))
        self.again.on_click(session.handler(lambda _: self._again()))
        actions = Box([self.again], classes=("easel-actions",))
        self.widget = Box([self.state, self.figures, actions], classes=("easel-ready",))

    def _again(self) -> None:
        """Takes the settings of the run over, and shows them."""
        if self.results.run is not None:
            self.session.bench.begin_from(self.results.run)
            self.go("prepare")

    def show(self) -> None:
        """Shows the run of the results."""
        self.results.look()
        run = self.results.run
        show(self.again, run is not None)
        if run is None:
            self.state.show_state("", "·", "No result yet", "The files of a run are shown here when it has ended.")
            self.figures.show_figures(())
            return
        word, tone = pasts.state_of(run)
        took, seen = pasts.seconds(run), run.summary
        name = pasts.name_of(run)
        title = f"{name} has failed" if run.state is JobState.FAILED else f"{name} is {word}"
        self.state.show_state(tone, pasts.SIGNS[tone], title, pasts.when(run))
        self.figures.show_figures(
            [
                ("Length", f"{seen.step:,} steps" if seen.step else "", ""),
                ("Took", pasts.span(took) if took is not None else "", ""),
                ("Checkpoints", f"{len(seen.checkpoints):,}" if seen.checkpoints else "", ""),
            ]
        )


class ResultsPanel:
    """The files, checkpoints and samples of the shown run, or of the newest that has ended; read when the place is shown."""

    def __init__(self, session: Session, is_shown: Callable[[], bool], go: Go) -> None:
        self.session, self.is_shown = session, is_shown
        self.run: Run | None = None
        self.files = Pairs()
        self.rows: list[CheckpointRow] = []
        self.table = VBox(classes=("easel-table",))
        self.more = Paragraph("", "muted", "small")
        self.samples = Gallery("Samples of the run")
        self.file_card = card("Files", self.files)
        self.file_card.add_class("easel-files")
        self.checkpoint_card = card("Checkpoints", self.table, self.more)
        self.sample_card = card("Samples", self.samples)
        history = Button(description="Open the history")
        history.on_click(session.handler(lambda _: go("history")))
        self.none = empty("No finished run", "Results shows the files, checkpoints and samples of a run.", history)
        self._seen: object = None
        self.widget = VBox(
            [self.none, self.sample_card, self.checkpoint_card, self.file_card], classes=("easel-results",)
        )

    def show(self) -> None:
        """Shows the run, if the place is shown and something has changed."""
        if not self.is_shown():
            return
        run = self.run
        state = (run.folder.path, run.state) if run is not None else None
        if self._seen == state and state is not None:
            return
        self._seen = state
        show(self.none, run is None)
        for one in (self.sample_card, self.checkpoint_card, self.file_card):
            show(one, run is not None)
        if run is not None:
            self.files.show_pairs((row["label"], row["text"]) for row in verdict(run))
            self._show_checkpoints(run)
            self._show_samples(run)

    def look(self) -> None:
        """Chooses the run whose results are shown: the one in Watch if it has ended, else the newest that has."""
        if self.is_shown():
            self.run = self._newest()

    def _newest(self) -> Run | None:
        shown = self.session.run
        if shown is not None and shown.state in FINAL_STATES:
            return shown
        return next((run for run in list_runs(places.runs()) if run.state in FINAL_STATES), None)

    def _show_checkpoints(self, run: Run) -> None:
        checkpoints = sorted(run.summary.checkpoints, key=lambda one: one.step, reverse=True)
        if not self.session.unasked:
            while len(self.rows) < max(READY_ROWS, len(checkpoints)):
                self.rows.append(CheckpointRow(self.session))
            self.table.children = tuple(row.widget for row in self.rows)
        for number, row in enumerate(self.rows):
            row.show(run, checkpoints[number] if number < len(checkpoints) else None)
        hidden = len(checkpoints) - len(self.rows)
        self.more.show_text(f"{hidden} more. Choose this place again to see them." if hidden > 0 else "")
        show(self.checkpoint_card, bool(checkpoints))

    def _show_samples(self, run: Run) -> None:
        """The samples by prompt, in the order of their steps; files outside the run's folder are not shown."""
        folder, prompt = run.folder.path, prompt_of(run)
        found = [one for one in run.summary.samples if (folder / one.path).resolve().is_relative_to(folder.resolve())]
        rows = {one.prompt for one in found}
        self.samples.show_images(
            [
                Shown(
                    folder / one.path,
                    f"Step {one.step:,}",
                    (prompt if len(rows) == 1 else f"Prompt {one.prompt + 1}") or "Samples",
                )
                for one in sorted(found, key=lambda one: (one.prompt, one.step))
            ]
        )
        show(self.sample_card, bool(found))


class CheckpointRow:
    """A checkpoint: its step, file and size, and a button for each action."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.step, self.file, self.size = Paragraph(), Paragraph("", "muted", "small"), Paragraph("", "muted", "small")
        self.actions = Box(classes=("easel-row",))
        self.widget = Box([self.step, self.file, self.size, self.actions], classes=("easel-checkpoint",))

    def show(self, run: Run, checkpoint: Checkpoint | None) -> None:
        """Shows a checkpoint, or nothing."""
        show(self.widget, checkpoint is not None)
        if checkpoint is None:
            return
        path = run.folder.path / checkpoint.path
        self.step.show_text(f"Step {checkpoint.step:,}" if checkpoint.step else path.name)
        self.file.show_text(path.name)
        self.size.show_text(_size(path), "muted")
        if not self.session.unasked:
            self.actions.children = tuple(
                self._button(words, action) for words, action in checkpoint_actions(self.session, run, checkpoint)
            )

    def _button(self, words: str, action: Callable[[], object]) -> Button:
        button = Button(description=words, classes=("easel-small",))
        button.on_click(self.session.handler(lambda _: action()))
        return button


def _size(path: Path) -> str:
    try:
        if path.is_file():
            size = path.stat().st_size
            return gigabytes(size) if size >= 1e6 else f"{size / 1e3:.0f} kB"
        return "folder" if path.is_dir() else "deleted"
    except OSError:
        return "cannot be read"
