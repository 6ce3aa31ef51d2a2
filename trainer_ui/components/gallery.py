"""Images in rows: the kernel tells which there are, and the page asks for each one that it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anywidget import AnyWidget
from traitlets import Dict, Unicode

from trainer_core.text import printable
from trainer_ui.components.images import SIDES_PX, Answers, encoded, kind_of
from trainer_ui.components.places import asset


@dataclass(frozen=True)
class Shown:
    """An image: its file, the text below it, and the row that it belongs to; "" if there is only one."""

    path: Path
    caption: str
    row: str = ""


class Gallery(AnyWidget):
    """Small images in rows; a click shows one in full size. A thread reads the files, because a large one takes long."""

    _esm = asset("gallery.js")
    _css = asset("gallery.css")

    title = Unicode().tag(sync=True)
    """What the images are, for screen readers."""
    content = Dict({"version": 0, "items": [], "more": 0}).tag(sync=True)
    """The images as {"caption", "row"}, and the number of those that are not shown."""

    def __init__(self, title: str) -> None:
        super().__init__(title=title)
        self._version = 0
        self._images: tuple[Shown, ...] = ()
        self._answers = Answers(self._tell)
        self.on_msg(self._heard)

    def show_images(self, images: Sequence[Shown], more: int = 0) -> None:
        """Shows these images; `more` is the number of further ones."""
        self._images = tuple(images)
        items = [{"caption": printable(one.caption, 120), "row": printable(one.row, 300)} for one in images]
        self._version += 1
        self.content = {"version": self._version, "items": items, "more": max(0, more)}

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        if not isinstance(message, Mapping) or message.get("kind") != "image":
            return
        index, version = message.get("index"), message.get("version")
        if isinstance(index, int) and isinstance(version, int):
            self._answers.ask((version, index, "small" if message.get("size") == "small" else "full"))

    def _tell(self, asked: tuple[int, int, str]) -> None:
        version, index, size = asked
        if version == self._version and 0 <= index < len(self._images):
            content = encoded(self._images[index].path, SIDES_PX[size])
            told = {"kind": "image", "version": version, "index": index, "size": size, "type": kind_of(content)}
            self.send(told, [content])
