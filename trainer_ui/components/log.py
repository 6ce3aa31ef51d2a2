"""The log of a job: what happened, its lines, its warnings, and a search in all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anywidget import AnyWidget

from trainer_ui.components.places import asset

LONGEST_SEARCH = 200


class LogPane(AnyWidget):
    """The log of one job. `hello` is called when a view asks for everything, `search` with the text that the user wants to find."""

    _esm = asset("dom.js", "log.js")

    def __init__(self, hello: Callable[[], None], search: Callable[[str], None]) -> None:
        super().__init__()
        self._hello, self._search = hello, search
        self.on_msg(self._heard)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Sends a message to every view."""
        self.send(dict(message))

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        if not isinstance(message, Mapping):
            return
        if message.get("kind") == "hello":
            self._hello()
        elif message.get("kind") == "search" and isinstance(message.get("text"), str):
            self._search(message["text"][:LONGEST_SEARCH])
