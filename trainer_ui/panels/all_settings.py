"""What the recipe opens below itself: the table of all settings, and the files and commands of a start."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from trainer_core.prepare import own_settings
from trainer_ui.boundary import attempt
from trainer_ui.formatting import show
from trainer_ui.widgets import Box, Button, VBox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainer_core.training.run import Run
    from trainer_ui.components.files_view import FilesView
    from trainer_ui.components.settings_table import SettingsTable
    from trainer_ui.session import Session

    Sent = Sequence[tuple[str, str]]

RUNS = 12
"""How many runs are offered for a comparison."""


class AllSettings:
    """The table of all settings; it is made when it is first opened, and reads nothing while it is closed."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.button = Button(classes=("easel-opens-settings",))
        self.button.on_click(session.handler(lambda _: self.turn()))
        self.widget = VBox(classes=("easel-drawer",))
        self.table: SettingsTable | None = None
        self.is_open = False
        self._read: set[tuple[str, str]] = set()
        """The programs whose help texts have been read: (engine, program)."""
        show(self.widget, False)

    def turn(self) -> None:
        """Opens or closes it."""
        self.is_open = not self.is_open
        if self.is_open and self.table is None:
            from trainer_ui.components.settings_table import SettingsTable

            handler = self.session.handler
            self.table = SettingsTable(handler(self._enter), handler(self._reset), handler(lambda _: self._close()))
            self.widget.children = (self.table,)
        show(self.widget, self.is_open)
        if self.is_open and self.table is not None:
            self.table.opened += 1

    def _close(self) -> None:
        self.is_open = False
        show(self.widget, False)

    def _enter(self, entered: tuple[str, str | bool]) -> None:
        from trainer_core.prepare import all_settings

        self.session.change(all_settings.entered(self.session.bench, *entered))

    def _reset(self, path: str) -> None:
        from trainer_core.prepare import entering

        entering.reset(self.session.bench, path)

    def show(self) -> None:
        """Counts the settings; shows them if the table is open."""
        state = self.session.bench.state
        label = f"All {own_settings.count(state):,} settings"
        if self.button.description != label:
            self.button.description = label
        if self.table is None or not self.is_open:
            return
        from trainer_core.prepare import all_settings

        backend = self.session.backend
        rows = all_settings.rows(state, self.session.problems, with_help=self._has_help())
        self.table.show_rows(rows, backend.manifest.title if backend else "")

    def _has_help(self) -> bool:
        """Whether the engine's help texts have been read; if not, a thread reads them, which takes up to a second."""
        from trainer_core.prepare import all_settings

        state = self.session.bench.state
        key = all_settings.help_key(state)
        if key in self._read:
            return True
        self._read.add(key)

        def read() -> None:
            attempt(lambda: all_settings.read_help(state), self.session.note)
            self.session.show_soon()

        threading.Thread(target=read, name="easel-help", daemon=True).start()
        return False


class Files:
    """The files and commands of a start; rendered only while it is open.

    `elsewhere` gives the name of the other machine that a start uses, "" for this one, and what is sent there, as (what, sentence).
    """

    def __init__(self, session: Session, elsewhere: Callable[[], tuple[str, Sent]] = lambda: ("", ())) -> None:
        self.session, self._elsewhere = session, elsewhere
        self.button = Button(description="Files and command", classes=("easel-opens-files",))
        self.button.on_click(session.handler(lambda _: self.turn()))
        self.widget = VBox(classes=("easel-drawer",))
        self.view: FilesView | None = None
        self.is_open = False
        self.against: str | None = None
        """The id of the run that it is compared with, "" for none; None for the last one of this subject that finished, else the nearest one."""
        show(self.widget, False)

    def turn(self) -> None:
        """Opens or closes it."""
        self.is_open = not self.is_open
        if self.is_open and self.view is None:
            from trainer_ui.components.files_view import FilesView

            handler = self.session.handler
            self.view = FilesView(handler(self._choose), handler(lambda _: self._close()))
            self.widget.children = (self.view,)
        show(self.widget, self.is_open)
        if self.is_open and self.view is not None:
            self.view.opened += 1

    def _close(self) -> None:
        self.is_open = False
        show(self.widget, False)

    def _choose(self, run: str) -> None:
        self.against = run

    def show(self) -> None:
        """Renders and compares the files, if they are shown."""
        if self.view is None or not self.is_open:
            return
        from trainer_core.prepare import preview

        state = self.session.bench.state
        forecast = self.session.forecast
        seen = preview.look_ahead(state, self.session.problems, forecast.estimate if forecast else None)
        runs = preview.comparable(state)[:RUNS]
        chosen = self._compared(runs)
        old = preview.files_of(chosen) if chosen is not None else {}
        files = (
            preview.differences(seen.files, old) if chosen is not None else preview.differences(seen.files, seen.files)
        )
        states = {name: preview.state_of(name, seen.files, old) for name in files} if chosen is not None else {}
        known = [(run.name, _title(run)) for run in runs]
        self.view.show_preview(seen, files, states, known, chosen.name if chosen else "", *self._elsewhere())

    def _compared(self, runs: list[Run]) -> Run | None:
        if self.against is None:
            return runs[0] if runs else None
        return next((run for run in runs if run.name == self.against), None)


def _title(run: Run) -> str:
    """The name of a run, how it ended and when, so that two of the same name can be told apart."""
    from trainer_ui import pasts

    return f"{pasts.name_of(run)}, {run.state.name.lower()}, {pasts.when(run)}"


def buttons(*drawers: AllSettings | Files) -> Box:
    """The buttons that open these, in a row."""
    return Box([one.button for one in drawers], classes=("easel-row", "easel-opens"))
