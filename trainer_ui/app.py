"""The frame of every notebook app: theme, head, areas of panels, and a lock against a second notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from IPython.display import display

from trainer_ui import theme
from trainer_ui.app_lock import AppLock
from trainer_ui.boundary import attempt
from trainer_ui.components.monitor import Pulse
from trainer_ui.formatting import Paragraph, show
from trainer_ui.job_session import JobSession
from trainer_ui.widgets import Box, Button, Dropdown, VBox, Widget


class Panel(Protocol):
    """A part of an app: a widget, and the view that fills it."""

    @property
    def widget(self) -> Widget:
        """The panel on the page."""
        ...

    def show(self) -> None:
        """Fills the widget."""
        ...


class App:
    """A notebook app: a head with title, subtitle and theme, and panels in areas around one job.

    A subclass names its `id` and `title`, makes its panels and passes them on by area: "form", "launch" and "watch" are
    those for which the themes have a layout. It may override `subtitle` and `restore`.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    shown: ClassVar[dict[str, App]] = {}
    """The apps that this kernel shows, at most one of each id."""

    def __init__(self, jobs: JobSession[Any], areas: Mapping[str, Sequence[Panel]]) -> None:
        self.jobs, self.views = jobs, jobs.views
        self.lock = AppLock(self.id)
        self.pulse = Pulse()
        jobs.feed.beat, jobs.refusal = self._beat, self._refusal
        for panels in areas.values():
            for panel in panels:
                self.views.add_view(panel.show)
        self.views.add_view(self._show)
        self.root = self._layout(areas)

    def _layout(self, areas: Mapping[str, Sequence[Panel]]) -> VBox:
        self._subtitle = Paragraph("", "muted")
        self.theme = Dropdown(
            description="Theme",
            options=[(name.capitalize(), name) for name in theme.names()],
            classes=("easel-theme-choice",),
        )
        self.theme.observe(self.views.handler(lambda name: theme.put_on(self.root, name)), "value")
        head = Box([VBox([Paragraph(self.title, "title"), self._subtitle]), self.theme], classes=("easel-head",))
        self.columns = Box([_area(name, panels) for name, panels in areas.items()], classes=("easel-columns",))
        root = VBox([theme.style(), self.pulse, head, self._lock_notice(), self.columns], classes=("easel",))
        theme.put_on(root, "auto")
        return root

    def _lock_notice(self) -> Box:
        self.take_over = Button(description="Start jobs here", classes=("easel-fix",))
        self.take_over.on_click(self.views.handler(lambda _: self.lock.acquire(take_over=True)))
        text = Paragraph(f"{self._open_elsewhere} Here you can watch and stop jobs.")
        self.locked = Box([text, self.take_over], classes=("easel-problem", "easel-is-warning", "easel-locked"))
        self._is_locked = False
        show(self.locked, False)
        return self.locked

    @property
    def _open_elsewhere(self) -> str:
        return f"{self.title} is open in another notebook, which starts the jobs."

    def subtitle(self) -> str:
        """The line under the title."""
        return ""

    def restore(self) -> None:
        """Finds the job again that an earlier kernel started. Called with the lock held, before anything is shown."""

    def open(self) -> None:
        """Fills the app and starts the feed."""
        with self.views.lock:
            attempt(self.restore, self.views.note)
            self.views.show()
        self.jobs.feed.start()

    def present(self) -> None:
        """Opens and displays the app. When the cell is run again, the app that it displayed before is closed."""
        if (before := App.shown.pop(self.id, None)) is not None:
            before.close()
        App.shown[self.id] = self
        self.open()
        display(self.root)

    def close(self) -> None:
        """Ends the feed, gives the lock up and removes the widgets; jobs continue."""
        self.jobs.close()
        self.lock.release()
        self.root.close()

    def _beat(self) -> None:
        self.pulse.beat()
        if self.lock.acquire() == self._is_locked:
            self.views.show_soon()

    def _refusal(self) -> str:
        return "" if self.lock.acquire() else f"Not started. {self._open_elsewhere} Click “Start jobs here” first."

    def _show(self) -> None:
        self._subtitle.show_text(self.subtitle())
        self._is_locked = not self.lock.acquire()
        show(self.locked, self._is_locked)
        for name, holds in (("easel-live", self.jobs.is_live), ("easel-watching", self.jobs.job is not None)):
            (self.columns.add_class if holds else self.columns.remove_class)(name)


def _area(name: str, panels: Sequence[Panel]) -> VBox:
    return VBox([panel.widget for panel in panels], classes=(f"easel-{name}",))
