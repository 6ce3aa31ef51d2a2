"""The cards of Results: the grid of checkpoints and samples, the chosen checkpoint, its file, and the upload."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core.jobs.state import JobState
from trainer_core.training import acceptance
from trainer_core.training.history import past_run
from trainer_core.training.verdict import verdict
from trainer_ui import pasts
from trainer_ui.components.sample_grid import Column, SampleGrid
from trainer_ui.formatting import Pairs, Paragraph, show
from trainer_ui.panels.card import card, fold
from trainer_ui.panels.chosen import ChosenPanel
from trainer_ui.panels.in_file import InFilePanel
from trainer_ui.panels.publish import PublishPanel, RunSource
from trainer_ui.panels.sample_view import SampleView, prompt_row
from trainer_ui.widgets import Box, Dropdown, VBox

if TYPE_CHECKING:
    from trainer_core.training.results import Made
    from trainer_core.training.run import Run
    from trainer_ui.panels.watch import Go
    from trainer_ui.run_results import RunResults

BASE = -1
"""The key of the column of the base model, which is no checkpoint."""


class ResultParts:
    """The cards of Results."""

    def __init__(self, state: RunResults, go: Go) -> None:
        self.state = state
        handler = state.session.handler
        self.which = Dropdown(description="Run", classes=("easel-which-run",))
        self.which.observe(handler(self._choose_run), "value")
        self.grid = SampleGrid(handler(state.choose), handler(state.prefer))
        self.advice = Paragraph("", "muted", "small")
        self.about = Paragraph("", "muted", "small", "grow")
        head = Box([Paragraph("Compare", "heading"), self.about, self.which], classes=("easel-card-head",))
        self.compare = VBox([head, self.grid, self.advice], classes=("easel-card", "easel-compare"))
        self.publish = PublishPanel(RunSource(state))
        self.chosen = ChosenPanel(state, self.publish.open)
        self.in_file = InFilePanel(state, go)
        self.samples = SampleView(state.session, lambda: state.run)
        self.every = fold(state.session, "All samples of the run", lambda: [self.samples.widget])
        self.ended = Pairs()
        self.ending = card("How it ended", self.ended)
        main = VBox([self.compare, self.publish.widget, self.every, self.ending], classes=("easel-results-main",))
        side = VBox([self.chosen.widget, self.in_file.widget], classes=("easel-results-side",))
        self.columns = (main, side)
        self._path: Path | None = None
        self._shown: Path | None = None
        self._steps: dict[Path, int] = {}
        """The steps of the runs in the list; those of a run that has ended do not change."""

    def _choose_run(self, path: str | None) -> None:
        run = next((run for run in self.state.known if str(run.folder.path) == path), None)
        if run is not None:
            self.state.want(run)

    def follow(self, path: Path | None, *, may_make: bool) -> None:
        """Looks for programs when another run is shown; only in an action of the user, because it may make buttons."""
        if path != self._path and may_make:
            self._path = path
            self.chosen.look()

    def show(self) -> None:
        """Shows the results."""
        run = self.state.run
        self._show_runs()
        for one in (self.compare, self.ending):
            show(one, run is not None)
        if run is None:
            return
        self._show_grid(run)
        self.chosen.show()
        self.in_file.show()
        self.publish.show()
        self.samples.show()
        show(self.every, bool(run.summary.samples))
        self.ended.show_pairs((row["label"], row["text"]) for row in verdict(run, is_for_page=True))

    def _show_runs(self) -> None:
        """The runs that can be chosen; one that was opened from the history is among them."""
        run, known = self.state.run, self.state.known
        every = [
            *([run] if run is not None and all(each.folder.path != run.folder.path for each in known) else []),
            *known,
        ]
        options = [(self._named(each), str(each.folder.path)) for each in every]
        if list(self.which.options) != options:
            self.which.options = options
        self.which.value = str(run.folder.path) if run is not None else None
        show(self.which, len(options) > 1)

    def _named(self, run: Run) -> str:
        """A run in the list: several may have the same name, so it says when, how it ended, and after how many steps."""
        path = run.folder.path
        if path not in self._steps:
            past = past_run(path)
            self._steps[path] = past.steps if past is not None else 0
        step = self._steps[path]
        length = f"{step:,} step{'s' if step > 1 else ''}" if step else "no step"
        return ", ".join(filter(None, (pasts.name_of(run), pasts.when(run), pasts.state_of(run)[0], length)))

    def _show_grid(self, run: Run) -> None:
        results = self.state.results
        rows = list(results.rows)
        columns = [self._column(one, rows) for one in results.made]
        if results.made and not any(one.samples for one in results.made):
            # Samples near a checkpoint say more of it than none.
            columns += [
                Column(step, f"{step:,}", _placed(of, rows), "no checkpoint") for step, of in results.others.items()
            ]
            columns.sort(key=lambda one: (not one.key, one.key))
        if results.before:
            title = "no LoRA" if _is_lora(run) else "before"
            columns.insert(0, Column(BASE, title, _placed(results.before, rows), "the base model"))
        anew, self._shown = self._shown != run.folder.path, run.folder.path
        self.grid.show_grid([prompt_row(results.prompts, row) for row in rows], columns, mode="compare", anew=anew)
        self.grid.chosen = self.state.step
        self.about.show_text("same prompt and seed in each row" if rows else "")
        self.advice.show_text(self._advice())

    def _column(self, one: Made, rows: list[int]) -> Column:
        results = self.state.results
        more, tone = "final" if one.is_final else "", ""
        if one.saved.ok is False:
            more, tone = "cannot be used", "danger"
        elif one.validation is not None:
            is_lowest = one is results.lowest
            more, tone = (f"{'lowest' if is_lowest else 'validation'} {one.validation:.4f}", "ok" if is_lowest else "")
        elif one.saved.ok is None:
            more, tone = "not tested", "warn"
        title = f"{one.step:,}" if one.step else "final"
        return Column(one.step, title, _placed(one.samples, rows), more, tone, one.is_best, "no sample at this step")

    def _advice(self) -> str:
        """What the figures say, or why there is nothing to compare."""
        results = self.state.results
        run = self.state.run
        if not results.made and run is not None and run.state is not JobState.COMPLETED:
            return "This run ended before it saved a checkpoint. Watch says why."
        if not results.made:
            return "This run has saved no checkpoint. Set “Save every” before the next run, so that it saves some."
        if not results.rows:
            return (
                "This run made no samples. Set “Sample every” before the next run, to compare its checkpoints by eye."
            )
        if not any(one.samples for one in results.made):
            return "No sample was made at the step of a checkpoint: give “Sample every” and “Save every” the same number of steps."
        lowest = results.lowest
        last = [one for one in results.made if one.validation is not None][-1:]
        if lowest is not None and last and last[0] is not lowest and last[0].step > lowest.step:
            return f"The validation loss rises after step {lowest.step:,}, a sign of training too long."
        return "" if results.best else "Mark the checkpoint that you like best with its star."


def _placed(images: Mapping[int, Path], rows: list[int]) -> dict[int, Path]:
    """The images by the place of their prompt in the grid."""
    return {place: images[row] for place, row in enumerate(rows) if row in images}


def _is_lora(run: Run) -> bool:
    return acceptance.noun(run.folder.plan) == "LoRA"
