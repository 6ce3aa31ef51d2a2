"""The guide beside an app: one page of it, with links to the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anywidget import AnyWidget
from traitlets import Dict

from trainer_ui.components.places import asset


class GuideView(AnyWidget):
    """Shows `content`; `go` is called with the name of a page and a section when a link is clicked, `close` when it is closed."""

    _esm = asset("dom.js", "guide.js")

    content = Dict().tag(sync=True)
    """`title`, `page`, `pages` (each as [name, title]), `section`, `blocks` as `guides.read` returns them, and `is_open`."""

    def __init__(self, go: Callable[[str, str], object], close: Callable[[], object]) -> None:
        super().__init__()
        self._go, self._close = go, close
        self.on_msg(self._heard)

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        if not isinstance(message, Mapping):
            return
        page, section = message.get("page"), message.get("section")
        if message.get("kind") == "close":
            self._close()
        elif message.get("kind") == "open" and isinstance(page, str) and isinstance(section, str):
            self._go(page, section)
