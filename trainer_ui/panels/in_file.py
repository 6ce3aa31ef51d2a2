"""What is in the file of the chosen checkpoint, where its run is, and how the training can go on from there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from trainer_core.errors import EaselError
from trainer_core.training import in_the_file
from trainer_ui.boundary import attempt
from trainer_ui.components.copy_line import CopyLine
from trainer_ui.formatting import Pairs, Paragraph, show
from trainer_ui.panels.go_on import GoOn
from trainer_ui.widgets import Box, Button, VBox

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_core.training.results import Made
    from trainer_core.training.run import Run
    from trainer_ui.run_results import RunResults

LONGEST_ENTRY = 300
MOST_ENTRIES = 400


class InFilePanel:
    """The card "In the file". It is made when Results is first opened, by an action of the user."""

    def __init__(self, state: RunResults, go: Callable[[str], object]) -> None:
        self.state = state
        handler = state.session.handler
        self.all = Button(description="All entries", classes=("easel-quiet",))
        self.all.on_click(handler(lambda _: self._turn()))
        self.lines, self.entries = Pairs(), Pairs()
        self.entries.add_class("easel-entries")
        self.go_on = GoOn(state, go)
        self.path = CopyLine(label="Run folder")
        self.folder = VBox([self.path])
        self.where = Button(description="Run folder", classes=("easel-small",))
        self.where.on_click(handler(lambda _: self._show_folder()))
        head = Box([Paragraph("In the file", "heading", "grow"), self.all], classes=("easel-card-head",))
        actions = Box([self.go_on.button, self.where], classes=("easel-row",))
        parts = [head, self.lines, self.entries, actions, self.folder, self.go_on.widget]
        self.widget = VBox(parts, classes=("easel-card", "easel-in-file"))
        self.is_all = self.is_folder = False

    def _turn(self) -> None:
        self.is_all = not self.is_all
        self.state.version += 1

    def _show_folder(self) -> None:
        self.is_folder = not self.is_folder
        self.state.version += 1

    def show(self) -> None:
        """Shows the chosen checkpoint."""
        run, one = self.state.run, self.state.made
        show(self.widget, run is not None)
        if run is None:
            return
        self.path.show_text(str(run.folder.path))
        show(self.folder, self.is_folder)
        show(self.all, one is not None)
        show(self.lines, one is not None)
        self.go_on.show()
        if one is None:
            show(self.entries, False)
            return
        self.lines.show_pairs(in_the_file.lines(run, one))
        show(self.entries, self.is_all)
        if self.is_all:
            threading.Thread(target=self._read, args=(run, one), name="easel-header", daemon=True).start()
        self.all.description = "Hide the entries" if self.is_all else "All entries"

    def _read(self, run: Run, one: Made) -> None:
        """Shows all entries; the header of a large file may take a moment."""

        def act() -> None:
            try:
                found = in_the_file.entries(run, one)
            except EaselError as error:
                self.entries.show_pairs([("", str(error))])
                return
            rows = sorted(found.items())[:MOST_ENTRIES]
            self.entries.show_pairs(
                [(key, value[:LONGEST_ENTRY]) for key, value in rows] or [("", "The file has no entries.")]
            )

        attempt(act, lambda sentence: self.entries.show_pairs([("", sentence)]))
