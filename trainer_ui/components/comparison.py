"""The comparison of runs on the page: tables of differences and results, loss curves over each other, and a sample of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anywidget import AnyWidget
from traitlets import Dict

from trainer_core.text import printable
from trainer_ui.components.image_answers import ImageAnswers
from trainer_ui.components.places import asset

SIDE_PX = 512
ACTS = ("close", "swap")


@dataclass(frozen=True)
class Part:
    """A table: its title, and of each row the title and the text of each run."""

    title: str
    rows: tuple[tuple[str, tuple[str, ...]], ...]


class ComparisonView(AnyWidget):
    """Compares runs. `heard` is called with "close" or "swap"; `sample` gives the file of a run's newest sample, by its place."""

    _esm = asset("comparison.js")

    content: Any = Dict({"version": 0, "runs": []}).tag(sync=True)
    """The comparison as JSON data; nothing is shown without runs."""

    def __init__(self, heard: Callable[[str], object], sample: Callable[[int], Path | None]) -> None:
        super().__init__()
        self._tell = heard
        self._images = ImageAnswers(self.send, lambda key: sample(int(key)), SIDE_PX)
        self._version = 0
        self.on_msg(self._heard)

    def show_nothing(self) -> None:
        """Removes the comparison from the page."""
        if self.content["runs"]:
            self._version += 1
            self.content = {"version": self._version, "runs": []}

    def show_runs(
        self,
        names: Sequence[str],
        parts: Sequence[Part],
        caveats: Sequence[str],
        curves: Sequence[Sequence[tuple[int, float]]],
    ) -> None:
        """Shows a comparison; `curves` has the (step, loss) pairs of each run."""
        self._version += 1
        self.content = {
            "version": self._version,
            "runs": [printable(name, 120) for name in names],
            "parts": [
                {
                    "title": printable(part.title, 120),
                    "rows": [
                        [printable(title, 160), [printable(text, 600) for text in texts]] for title, texts in part.rows
                    ],
                }
                for part in parts
            ],
            "caveats": [printable(sentence, 600) for sentence in caveats],
            "curves": [[list(pair) for pair in curve] for curve in curves],
        }

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        if not isinstance(message, Mapping):
            return
        if message.get("kind") in ACTS:
            self._tell(message["kind"])
        place = message.get("place")
        if message.get("kind") == "image" and isinstance(place, int) and 0 <= place < len(self.content["runs"]):
            self._images.ask(str(place))
