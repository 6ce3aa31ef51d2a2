"""The guide of an app, and the help of each place: two buttons in the head, and the guide beside the page when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.widgets import Box, Button

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainer_ui.components.guide import GuideView
    from trainer_ui.views import Views

NAMED = {"lora-trainer": 0, "finetuning": 1, "first-lora": 2, "when-it-fails": 3}
"""The pages that stand first in the list of pages."""


class Guide:
    """Two buttons: "Guide" opens the guide of the app at its beginning, "?" at what it says about the place that is shown.

    It shows the files that ship with Easel, so it works without a connection, and in every notebook.
    """

    def __init__(self, views: Views, page: str, helps: Mapping[str, tuple[str, str]], place: Callable[[], str]) -> None:
        """`helps` has the page and the section about each place; `place` returns the one that is shown."""
        self.page, self.helps, self.place = page, helps, place
        self.view: GuideView | None = None
        self._turn = 0
        self._is_open = False
        self._views = views
        self.button = Button(description="Guide", classes=("easel-quiet", "easel-guide-open"))
        self.button.on_click(views.handler(lambda _: self._press(self.page, "")))
        self.help = Button(description="?", classes=("easel-quiet", "easel-place-help"))
        self.help.on_click(views.handler(lambda _: self._press(*self.helps.get(self.place(), (self.page, "")))))
        shown = [*([self.button] if page else []), *([self.help] if helps else [])]
        self.buttons = Box(shown, classes=("easel-guide-buttons",))
        self.widget = Box(classes=("easel-guide-place",))

    def _press(self, page: str, section: str) -> None:
        shown = self.view.content if self.view is not None and self._is_open else {}
        if shown and (shown["page"], shown["section"]) == (page, section):
            self.close()
        else:
            self.open(page, section)

    def open(self, page: str, section: str = "") -> None:
        """Shows a page, scrolled to a section; nothing if there is no such page."""
        from trainer_ui import guides

        known = guides.names()
        if page not in known:
            return
        if self.view is None:
            from trainer_ui.components.guide import GuideView

            handler = self._views.handler
            go = handler(lambda asked: self.open(*asked))
            self.view = GuideView(lambda name, part: go((name, part)), handler(lambda _: self.close()))
            self.widget.children = (self.view,)
        self._turn, self._is_open = self._turn + 1, True
        ordered = sorted(known, key=lambda name: (NAMED.get(name, len(NAMED)), name))
        self.view.content = {
            "is_open": True,
            "page": page,
            "pages": [[name, guides.title(name)] for name in ordered],
            "section": section,
            "blocks": guides.read(page),
            "turn": self._turn,
        }

    def close(self) -> None:
        """Closes the guide."""
        self._is_open = False
        if self.view is not None:
            self.view.content = {**self.view.content, "is_open": False}
