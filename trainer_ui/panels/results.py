"""What a run made: its checkpoints beside their samples, the best of them, and where they can go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from trainer_core.jobs.state import JobState
from trainer_ui import pasts
from trainer_ui.formatting import Figures, Headline, show
from trainer_ui.panels.card import empty
from trainer_ui.panels.resuming import Resuming
from trainer_ui.panels.watch import Go
from trainer_ui.run_results import RunResults, size_text
from trainer_ui.widgets import Box, Button, VBox

if TYPE_CHECKING:
    from trainer_core.training.run import Run
    from trainer_ui.panels.result_parts import ResultParts
    from trainer_ui.session import Session


class ResultsBar:
    """How the run ended, its best checkpoint, and the button that delivers it."""

    def __init__(self, session: Session, results: ResultsPanel, go: Go, resume: Callable[[Run], object]) -> None:
        self.session, self.results, self.go = session, results, go
        self.resuming = Resuming(session, resume, "easel-big")
        self.state, self.figures = Headline(), Figures()
        self.again = Button(description="Train again with changes", classes=("easel-big",))
        self.again.on_click(session.handler(lambda _: self._again()))
        self.deliver = Button(button_style="primary", classes=("easel-big",))
        self.deliver.on_click(session.handler(lambda _: results.deliver()))
        actions = Box([self.resuming.button, self.again, self.deliver], classes=("easel-actions",))
        self.widget = Box([self.state, self.figures, actions], classes=("easel-ready", "easel-result-bar"))

    def _again(self) -> None:
        """Takes the settings of the run over, and shows them."""
        if self.results.run is not None:
            self.session.begin_from(self.results.run)
            self.go("prepare")

    def show(self) -> None:
        """Shows the run of the results."""
        self.results.look()
        state, run = self.results.state, self.results.run
        show(self.again, run is not None)
        self.resuming.show(run if self.results.is_shown() else None)
        words = self.results.delivery_words()
        show(self.deliver, bool(words))
        if run is None:
            self.state.show_state("", "·", "No result yet", "The files of a run are shown here when it has ended.")
            self.figures.show_figures(())
            return
        self.deliver.description = words or "Copy"
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
            # Loads what only the results need.
            from trainer_ui.panels.result_parts import ResultParts

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
