"""What a run made: its checkpoints beside their samples, the best of them, and where they can go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from trainer_core.jobs.state import JobState
from trainer_core.training.verdict import verdict
from trainer_ui import pasts
from trainer_ui.components.sample_grid import Column, SampleGrid
from trainer_ui.formatting import Figures, Headline, Pairs, Paragraph, show
from trainer_ui.panels.card import card, empty, fold
from trainer_ui.panels.chosen import ChosenPanel, size_text
from trainer_ui.panels.in_file import InFilePanel
from trainer_ui.panels.publish import PublishPanel
from trainer_ui.panels.sample_view import SampleView, prompt_row
from trainer_ui.panels.watch import Go
from trainer_ui.run_results import RunResults
from trainer_ui.widgets import Box, Button, Dropdown, VBox

if TYPE_CHECKING:
    from pathlib import Path

    from trainer_core.training.results import Made
    from trainer_core.training.run import Run
    from trainer_ui.session import Session

BASE = -1
"""The key of the column of the base model, which is no checkpoint."""


class ResultsBar:
    """How the run ended, its best checkpoint, and the button that delivers it."""

    def __init__(self, session: Session, results: ResultsPanel, go: Go) -> None:
        self.session, self.results, self.go = session, results, go
        self.state, self.figures = Headline(), Figures()
        self.again = Button(description="Train again with changes", classes=("easel-big",))
        self.again.on_click(session.handler(lambda _: self._again()))
        self.deliver = Button(button_style="primary", classes=("easel-big",))
        self.deliver.on_click(session.handler(lambda _: results.deliver()))
        actions = Box([self.again, self.deliver], classes=("easel-actions",))
        self.widget = Box([self.state, self.figures, actions], classes=("easel-ready",))

    def _again(self) -> None:
        """Takes the settings of the run over, and shows them."""
        if self.results.run is not None:
            self.session.bench.begin_from(self.results.run)
            self.go("prepare")

    def show(self) -> None:
        """Shows the run of the results."""
        self.results.look()
        state, run = self.results.state, self.results.run
        show(self.again, run is not None)
        words = self.results.delivery_words()
        show(self.deliver, bool(words))
        if run is None:
            self.state.show_state("", "·", "No result yet", "The files of a run are shown here when it has ended.")
            self.figures.show_figures(())
            return
        self.deliver.description = words or "Copy"
        self.deliver.disabled = bool(state.busy)
        (self.deliver.add_class if state.busy else self.deliver.remove_class)("easel-busy")
        word, tone = pasts.state_of(run)
        name = pasts.name_of(run)
        title = f"{name} has failed" if run.state is JobState.FAILED else f"{name} is {word}"
        self.state.show_state(tone, pasts.SIGNS[tone], title, self._length(run))
        self.figures.show_figures(self._figures())

    def _length(self, run: Run) -> str:
        took, step = pasts.seconds(run), run.summary.last_step or run.summary.step
        length = f"{step:,} steps" if step else ""
        in_time = f"in {pasts.span(took)}" if took is not None else ""
        return ", ".join(filter(None, (" ".join(filter(None, (length, in_time))), pasts.when(run))))

    def _figures(self) -> list[tuple[str, str, str]]:
        results = self.results.state.results
        best, lowest, one = results.best, results.lowest, results.offered
        shown = best or lowest
        known = sum(each.validation is not None for each in results.made)
        loss = f"{shown.validation:.4f}" if shown is not None and shown.validation is not None else ""
        more = f"lowest of {known}" if shown is not None and shown is lowest else ""
        return [
            ("Your best", f"step {best.step:,}" if best else "", ""),
            ("Validation loss", loss, more or (f"step {shown.step:,}" if shown and not best else "")),
            ("File", size_text(one.saved.size_bytes) if one else "", ""),
            ("Checkpoints", f"{len(results.made):,}" if len(results.made) > 1 and not best else "", ""),
        ]


class ResultsPanel:
    """The results of the shown run, or of the newest that has ended.

    Its parts are made when the place is first shown: that is an action of the user, and a thread may make no widget.
    """

    def __init__(self, session: Session, is_shown: Callable[[], bool], go: Go) -> None:
        self.session, self.is_shown, self.go = session, is_shown, go
        self.state = RunResults(session)
        history = Button(description="Open the history")
        history.on_click(session.handler(lambda _: go("history")))
        self.none = empty("No finished run", "Results shows the checkpoints and samples of a run.", history)
        self.parts: ResultParts | None = None
        self._seen: object = None
        self.widget = VBox([self.none], classes=("easel-results",))

    @property
    def run(self) -> Run | None:
        """The run whose results are shown."""
        return self.state.run

    def choose(self, run: Run | None) -> None:
        """Shows the results of this run from now on; None for the one that Easel chooses."""
        self.state.want(run)

    def look(self) -> None:
        """Chooses the run whose results are shown: the wanted one, the one in Watch if it has ended, else the newest that has."""
        if self.is_shown():
            self.state.look()

    def delivery_words(self) -> str:
        """The words on the button that delivers the best checkpoint; "" if there is none to deliver."""
        one = self.state.results.offered
        if one is None or self.parts is None:
            return ""
        what = "best" if one.is_best else "final" if one.is_final else f"step {one.step:,}"
        found = self.parts.chosen.found
        return f"Copy {what} to {found[0].title}" if found else f"Download {what}"

    def deliver(self) -> None:
        """Delivers the best checkpoint to the first program that reads it, or to the browser."""
        one = self.state.results.offered
        if one is None or self.parts is None:
            return
        self.state.choose(one.step)
        found = self.parts.chosen.found
        if found:
            self.parts.chosen.copy(found[0].folder, found[0].title)
        else:
            self.parts.chosen.download.begin()

    def close(self) -> None:
        """Ends the feed of an upload; the upload goes on."""
        if self.parts is not None:
            self.parts.publish.end()

    def show(self) -> None:
        """Shows the run, if the place is shown and something has changed."""
        if not self.is_shown():
            return
        run = self.state.run
        if self.parts is None and run is not None and not self.session.unasked:
            self.parts = ResultParts(self.state, self.go)
            self.widget.children = (self.none, *self.parts.columns)
            self.parts.publish.look()
        show(self.none, run is None)
        if self.parts is None:
            return
        path = run.folder.path if run is not None else None
        self.parts.follow(path, may_make=not self.session.unasked)
        seen = (path, self.state.version, self.state.busy, self.session.jobs.is_live, self.parts.publish.jobs.state)
        if self._seen != seen:
            self._seen = seen
            self.parts.show()


class ResultParts:
    """The cards of Results."""

    def __init__(self, state: RunResults, go: Go) -> None:
        self.state = state
        handler = state.session.handler
        self.which = Dropdown(description="Run", classes=("easel-which-run",))
        self.which.observe(handler(self._choose_run), "value")
        self.grid = SampleGrid(state.choose, state.prefer)
        self.grid.on_msg(self._heard)
        self.advice = Paragraph("", "muted", "small")
        self.about = Paragraph("", "muted", "small", "grow")
        head = Box([Paragraph("Compare", "heading"), self.about, self.which], classes=("easel-card-head",))
        self.compare = VBox([head, self.grid, self.advice], classes=("easel-card", "easel-compare"))
        self.publish = PublishPanel(state)
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

    def _heard(self, _: object, message: object, __: object) -> None:
        """Shows everything again after a choice in the grid."""
        if isinstance(message, dict) and message.get("kind") in ("choose", "best"):
            self.state.session.handler(lambda _: None)()

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
        self.ended.show_pairs((row["label"], row["text"]) for row in verdict(run))

    def _show_runs(self) -> None:
        """The runs that can be chosen; one that was opened from the history is among them."""
        run, known = self.state.run, self.state.known
        every = [
            *([run] if run is not None and all(each.folder.path != run.folder.path for each in known) else []),
            *known,
        ]
        options = [
            (", ".join(filter(None, (pasts.name_of(each), pasts.when(each)))), str(each.folder.path)) for each in every
        ]
        if list(self.which.options) != options:
            self.which.options = options
        self.which.value = str(run.folder.path) if run is not None else None
        show(self.which, len(options) > 1)

    def _show_grid(self, run: Run) -> None:
        results = self.state.results
        rows = list(results.rows)
        columns = [self._column(one, rows) for one in results.made]
        if results.before:
            placed = {place: results.before[row] for place, row in enumerate(rows) if row in results.before}
            columns.insert(0, Column(BASE, "no LoRA" if _is_lora(run) else "before", placed, "the base model"))
        anew, self._shown = self._shown != run.folder.path, run.folder.path
        self.grid.show_grid([prompt_row(results.prompts, row) for row in rows], columns, mode="compare", anew=anew)
        self.grid.chosen = self.state.step
        self.about.show_text("same prompt and seed in each row" if rows else "")
        self.advice.show_text(self._advice())

    def _column(self, one: Made, rows: list[int]) -> Column:
        results = self.state.results
        placed = {place: one.samples[row] for place, row in enumerate(rows) if row in one.samples}
        more, tone = "final" if one.is_final else "", ""
        if one.saved.ok is False:
            more, tone = "cannot be used", "danger"
        elif one.validation is not None:
            is_lowest = one is results.lowest
            more, tone = (f"{'lowest' if is_lowest else 'validation'} {one.validation:.4f}", "ok" if is_lowest else "")
        elif one.saved.ok is None:
            more, tone = "not tested", "warn"
        title = f"{one.step:,}" if one.step else "final"
        return Column(one.step, title, placed, more, tone, one.is_best, "no sample at this step")

    def _advice(self) -> str:
        """What the figures say, or why there is nothing to compare."""
        results = self.state.results
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


def _is_lora(run: Run) -> bool:
    from trainer_core.training import acceptance

    return acceptance.noun(run.folder.plan) == "LoRA"
