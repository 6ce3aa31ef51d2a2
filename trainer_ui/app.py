"""The frame of every notebook app: head with tabs and theme, a bar, the places, and a lock against a second notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

from IPython.display import display

from trainer_ui import theme
from trainer_ui.app_lock import AppLock
from trainer_ui.boundary import attempt
from trainer_ui.components.monitor import Pulse
from trainer_ui.components.places import Places
from trainer_ui.formatting import Paragraph, show
from trainer_ui.job_session import JobSession
from trainer_ui.panels.guide import Guide
from trainer_ui.widgets import HTML, Box, Button, Dropdown, VBox, Widget

WATCH = "watch"
"""The id of the place that shows the job; its tab has a dot while a job is in progress."""
ELSEWHERE = "easel-elsewhere"
"""The CSS class of what belongs to a place that is not shown."""
AGAIN = "{title} was opened again in another tab or cell. Run this cell again to use it here."
REPLACED = "easel-replaced"
"""The CSS class of an app of which only that sentence remains."""
MOST_LEFT = 4
"""So many apps that were replaced keep a sentence on their page."""
BRAND = (
    '<svg class="easel-logo" viewBox="0 0 24 24" aria-hidden="true"><path d="M5 4h14v11H5zM12 2v2M8 15l-3 7M16 15l3 7'
    'M12 15v5M9 12V9m3 3V7m3 5v-2"/></svg>'
)


class Panel(Protocol):
    """A part of an app: a widget, and the view that fills it."""

    @property
    def widget(self) -> Widget:
        """The panel on the page."""
        ...

    def show(self) -> None:
        """Fills the widget."""
        ...


@dataclass(frozen=True)
class Place:
    """One place of an app, under its own tab.

    `columns` are the panels by column, in reading order; a narrow page shows the columns one after the other. `bar` is shown
    under the head while the place is, and stays in sight: state, figures and the main action. `look` says how the columns
    share a wide page: "plain", "halves", "even" or "wide-left".
    """

    title: str
    columns: Sequence[Sequence[Panel]]
    bar: Panel | None = None
    look: str = "plain"
    guide: tuple[str, str] = ("", "")
    """The page of the guide that explains it, and the section of that page."""

    @property
    def panels(self) -> list[Panel]:
        """All its panels, the bar first."""
        bar = [self.bar] if self.bar is not None else []
        return [*bar, *(panel for column in self.columns for panel in column)]


class App:
    """A notebook app: a head with title, tabs and theme, and places around one job.

    A subclass names its `id` and `title`, makes its panels and passes them on by place; the place `watch` shows the job. It may
    override `restore` and `beat`.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    guide_page: ClassVar[str] = ""
    """The page of `docs/guide` that explains the app; without one, its head has no button for it."""
    fills_hidden: ClassVar[bool] = True
    """Whether the panels of places that are not shown are filled, too; an app with much content fills them when they are."""
    shown: ClassVar[dict[str, App]] = {}
    """The apps that this kernel shows, at most one of each id."""
    left: ClassVar[list[VBox]] = []
    """What remains of the apps before them, oldest first: a sentence."""

    def __init__(self, jobs: JobSession[Any], places: Mapping[str, Place]) -> None:
        self.jobs, self.views = jobs, jobs.views
        self.lock = AppLock(self.id)
        self.pulse = Pulse()
        self.places = Places({name: place.title for name, place in places.items()})
        self.places.observe(self.views.handler(lambda _: None), "chosen")
        jobs.feed.beat, jobs.refusal = self._beat, self._refusal
        for name, place in places.items():
            for panel in place.panels:
                self.views.add_view(panel.show if self.fills_hidden else partial(self._fill, name, panel))
        self.views.add_view(self._show)
        self.views.show_message = self._show_message
        self._job: object = None
        self.root = self._layout(places)

    def _fill(self, place: str, panel: Panel) -> None:
        if self.places.chosen == place:
            panel.show()

    def _layout(self, places: Mapping[str, Place]) -> VBox:
        self.theme = Dropdown(
            description="Theme",
            options=[(name.capitalize(), name) for name in theme.names()],
            value=theme.remembered(),
            classes=("easel-theme-choice",),
        )
        self.theme.observe(self.views.handler(self._choose_theme), "value")
        brand = HTML(f'<div class="easel-brand">{BRAND}<b>{self.title}</b></div>')
        helps = {name: place.guide for name, place in places.items() if place.guide[0]}
        self.guide = Guide(self.views, self.guide_page, helps, lambda: self.places.chosen)
        head = Box([brand, self.places, self.guide.buttons, self.theme], classes=("easel-head",))
        bars = [
            VBox([place.bar.widget], classes=self._classes("easel-bars", name))
            for name, place in places.items()
            if place.bar is not None
        ]
        shown = [self._place(name, place) for name, place in places.items()]
        self.message = Paragraph("", role="status")
        self.notice = Box([self.message], classes=("easel-message",))
        # What the app says about itself stays in sight, also where the page is scrolled.
        top = VBox([head, self.pulse, self._lock_notice(), *bars, self.notice], classes=("easel-top",))
        parts = [theme.style(), top, self.guide.widget, *shown]
        root = VBox(parts, classes=("easel",))
        theme.put_on(root, theme.remembered())
        return root

    def _place(self, name: str, place: Place) -> Box:
        columns = [VBox([panel.widget for panel in column], classes=("easel-column",)) for column in place.columns]
        return Box(columns, classes=(*self._classes("easel-place", name), f"easel-look-{place.look}"))

    def _classes(self, kind: str, name: str) -> tuple[str, ...]:
        away = () if name == self.places.chosen else (ELSEWHERE,)
        return (kind, f"easel-at-{name}", *away)

    def _choose_theme(self, name: str) -> None:
        theme.put_on(self.root, name)
        theme.remember(name)

    def _lock_notice(self) -> Box:
        self.take_over = Button(description="Start jobs here", classes=("easel-small",))
        self.take_over.on_click(self.views.handler(lambda _: self.lock.acquire(take_over=True)))
        text = Paragraph(f"{self._open_elsewhere} Here you can watch and stop jobs.", "grow")
        self.locked = Box([text, self.take_over], classes=("easel-message", "easel-is-warning", "easel-locked"))
        self._is_locked = False
        show(self.locked, False)
        return self.locked

    @property
    def _open_elsewhere(self) -> str:
        return f"{self.title} is open in another notebook, which starts the jobs."

    def restore(self) -> None:
        """Finds the job again that an earlier kernel started. Called with the lock held, before anything is shown."""

    def beat(self) -> None:
        """Called every two seconds by the thread of the feed; it may fill widgets, and may make none."""

    def go(self, place: str) -> None:
        """Shows a place."""
        self.places.chosen = place

    def open(self) -> None:
        """Fills the app and starts the feed."""
        with self.views.lock:
            attempt(self.restore, self.views.note)
            self.views.show()
        self.jobs.feed.start()

    def present(self) -> None:
        """Opens and displays the app. When the cell is run again, the app that it displayed before is closed."""
        if (before := App.shown.pop(self.id, None)) is not None:
            before.close(AGAIN.format(title=self.title))
        App.shown[self.id] = self
        self.open()
        display(self.root)

    def close(self, why: str = "") -> None:
        """Ends the feed, gives the lock up and removes the widgets, or leaves the sentence `why` in their place; jobs continue."""
        self.jobs.close()
        self.lock.release()
        if not why:
            self.root.close()
            return
        # Another tab may still show it: an empty cell would look like a loss.
        said = Box([Paragraph(why, role="status")], classes=("easel-message", "easel-is-warning"))
        self.root.add_class(REPLACED)
        # The pulse brings the sentence into sight: the page may be scrolled to where there is nothing any more.
        self.root.children = (theme.style(), said, self.pulse)
        App.left.append(self.root)
        while len(App.left) > MOST_LEFT:
            App.left.pop(0).close()

    def _beat(self) -> None:
        self.pulse.beat()
        self.beat()
        if self.lock.acquire() == self._is_locked:
            self.views.show_soon()

    def _refusal(self) -> str:
        return "" if self.lock.acquire() else f"Not started. {self._open_elsewhere} Click “Start jobs here” first."

    def _show_message(self) -> None:
        self.message.show_text(self.views.message)
        show(self.notice, bool(self.views.message))

    def _show(self) -> None:
        self._is_locked = not self.lock.acquire()
        show(self.locked, self._is_locked)
        self._show_message()
        self.places.live = WATCH if self.jobs.is_live else ""
        if self.jobs.job is not self._job:
            # A job was started or found again, or the user chose one: it is what they want to see.
            self._job = self.jobs.job
            if self._job is not None:
                self.go(WATCH)
