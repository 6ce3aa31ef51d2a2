"""One image of a dataset, large, with its caption to be written, and the tags of the dataset as suggestions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anywidget import AnyWidget
from traitlets import Dict, List

from trainer_core.text import printable
from trainer_ui.components.image_list import MARKS
from trainer_ui.components.images import SIDES_PX, Answers, encoded, kind_of
from trainer_ui.components.places import asset

LONGEST_CAPTION = 100_000
MOST_WORDS = 1500
NOTHING: dict[str, Any] = {"id": -1, "version": 0}


@dataclass(frozen=True)
class Seen:
    """An image as it is shown. `place` is where it is in the list; `crop` are the shares cut off at top, right, bottom, left.

    `caption` is what the field shows, `base` what its file has. `findings` are sentences with a tone; `told` is a line under the
    caption; a `locked` caption cannot be edited here.
    """

    id: int
    version: int
    path: Path
    name: str
    caption: str
    base: str = ""
    facts: str = ""
    place: str = ""
    has_before: bool = False
    has_after: bool = False
    findings: Sequence[tuple[str, str]] = ()
    told: str = ""
    mark: str = ""
    stamp: int = 0
    crop: tuple[float, float, float, float] | None = None
    locked: bool = False
    said: str = ""


@dataclass(frozen=True)
class Told:
    """What is called when the user does something. `draft` and `save` get (number of the image, text, what its file had)."""

    draft: Callable[[tuple[int, str, str]], object]
    save: Callable[[tuple[int, str, str]], object]
    go: Callable[[int], object]
    mark: Callable[[tuple[int, str]], object]


class ImageEditor(AnyWidget):
    """The image and its caption. A text that is typed is told at a pause, and saved when the user leaves the field."""

    _esm = asset("dom.js", "image_editor.js")
    _css = asset("image_editor.css")

    content = Dict(NOTHING).tag(sync=True)
    """What is shown."""
    vocabulary = List().tag(sync=True)
    """The tags that are suggested, as [tag, number], the most frequent first."""

    def __init__(self, told: Told) -> None:
        super().__init__()
        self._on = told
        self._image: tuple[int, int, Path] | None = None
        self._answers = Answers(self._tell)
        self.on_msg(self._heard)

    def show_image(self, seen: Seen | None) -> None:
        """Shows this image, or none."""
        self._image = (seen.id, seen.version, seen.path) if seen is not None else None
        wanted = _as_data(seen) if seen is not None else NOTHING
        if self.content != wanted:
            self.content = wanted

    def suggest(self, words: Sequence[tuple[str, int]]) -> None:
        """Suggests these tags while the user types."""
        wanted = [[printable(word, 100), number] for word, number in words[:MOST_WORDS]]
        if self.vocabulary != wanted:
            self.vocabulary = wanted

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        """What the page says; it may be anything."""
        if not isinstance(message, Mapping):
            return
        kind, number, text, base = (message.get(key) for key in ("kind", "id", "text", "base"))
        if kind == "go" and message.get("by") in (1, -1):
            self._on.go(message["by"])
        elif not isinstance(number, int) or isinstance(number, bool) or not isinstance(message.get("version"), int):
            return
        elif kind == "image":
            self._answers.ask((number, message["version"]))
        elif kind == "mark" and message.get("mark") in MARKS:
            self._on.mark((number, message["mark"]))
        elif (
            kind in ("draft", "save")
            and isinstance(text, str)
            and isinstance(base, str)
            and len(text) <= LONGEST_CAPTION
        ):
            (self._on.draft if kind == "draft" else self._on.save)((number, text, base))

    def _tell(self, asked: tuple[int, int]) -> None:
        image = self._image
        if image is not None and image[:2] == asked:
            content = encoded(image[2], SIDES_PX["full"])
            self.send({"kind": "image", "id": asked[0], "version": asked[1], "type": kind_of(content)}, [content])


def _as_data(seen: Seen) -> dict[str, Any]:
    return {
        "id": seen.id,
        "version": seen.version,
        "name": printable(seen.name, 200),
        "caption": printable(seen.caption, LONGEST_CAPTION, keep="\n"),
        "base": printable(seen.base, LONGEST_CAPTION, keep="\n"),
        "facts": printable(seen.facts, 400),
        "place": printable(seen.place, 60),
        "hasBefore": seen.has_before,
        "hasAfter": seen.has_after,
        "findings": [{"text": printable(text, 400), "tone": tone} for text, tone in seen.findings],
        "told": printable(seen.told, 400),
        "mark": seen.mark,
        "stamp": seen.stamp,
        "crop": list(seen.crop) if seen.crop is not None else None,
        "locked": seen.locked,
        "said": printable(seen.said, 400),
    }
