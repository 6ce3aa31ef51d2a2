"""The table of runs: one page of rows, which the kernel filters and sorts. The page tells what the user does with a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anywidget import AnyWidget
from traitlets import Dict

from trainer_ui.components.image_answers import ImageAnswers
from trainer_ui.components.places import asset

SIDE_PX = 96
LONGEST = 400
SORTS = ("name", "state", "family", "steps", "images", "loss", "took", "started", "size")
"""What the rows can be sorted by."""


@dataclass(frozen=True)
class Asked:
    """What the user did in the table: `what` is "open", "choose", "sort", "page" or "name"; `run` is the row's, "" without one."""

    what: str
    run: str = ""
    text: str = ""
    number: int = 0


class RunsTable(AnyWidget):
    """A page of rows. `heard` is called with what the user did, `image` gives the thumbnail of a run."""

    _esm = asset("runs_table.js")

    content: Any = Dict({"rows": [], "sort": "started", "descending": True, "first": 0, "total": 0, "size": 25}).tag(
        sync=True
    )
    """The rows of the page, the sorting, the place of the first row, the number of all rows and of those of a page."""

    def __init__(self, heard: Callable[[Asked], object], image: Callable[[str], Path | None]) -> None:
        super().__init__()
        self._tell = heard
        self._images = ImageAnswers(self.send, image, SIDE_PX)
        self.on_msg(self._heard)

    def show_rows(self, content: Mapping[str, Any]) -> None:
        """Shows a page; sends nothing if it is shown already."""
        if self.content != content:
            self.content = dict(content)

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        if not isinstance(message, Mapping):
            return
        run, text, number = message.get("run", ""), message.get("text", ""), message.get("number", 0)
        is_sound = isinstance(run, str) and isinstance(text, str) and isinstance(number, int)
        known = {row.get("run") for row in self.content["rows"]} | {""}
        if not is_sound or len(text) > LONGEST or run not in known:
            return
        what = message.get("kind")
        if what == "image":
            self._images.ask(run)
        elif what in ("open", "choose", "name") and run:
            self._tell(Asked(what, run, text))
        elif what == "sort" and text in SORTS:
            self._tell(Asked(what, text=text))
        elif what == "page" and number >= 0:
            self._tell(Asked(what, number=number))
