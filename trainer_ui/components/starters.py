"""A list of models to begin with: the page shows it, and the kernel is told which one is chosen and when to get it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from anywidget import AnyWidget
from traitlets import Bool, Dict, List, Unicode

from trainer_ui.components.places import asset


class StarterList(AnyWidget):
    """Models as options of which one is chosen; below them what is known of the chosen one, and a button that gets it."""

    _esm = asset("starters.js")

    rows = List().tag(sync=True)
    """Each model as {"id", "title", "use", "about", "licence", "licence_url", "size", "gated"}; all are texts except "gated"."""
    chosen = Unicode().tag(sync=True)
    """The id of the chosen model; "" for none."""
    told = Dict({"text": "", "tone": "", "button": ""}).tag(sync=True)
    """What is said of the chosen model, its tone ("" or "warn"), and the words on the button; "" for no button."""
    is_open = Bool(True).tag(sync=True)
    """Whether the list is shown, and not only its heading."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(rows=[dict(row) for row in rows])
        self.asked: Callable[[str], object] = lambda _: None
        """Called with the id of the chosen model when its button is pressed."""
        self.on_msg(self._heard)

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        known = [row["id"] for row in self.rows]  # not a set: what the page sends need not be hashable
        if isinstance(message, Mapping) and message.get("kind") == "get" and message.get("id") in known:
            self.asked(message["id"])
