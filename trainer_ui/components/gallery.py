"""Images in rows: the kernel tells which there are, and the page asks for each one that it shows."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anywidget import AnyWidget
from traitlets import Dict, Unicode

from trainer_core.text import printable
from trainer_ui.boundary import attempt
from trainer_ui.components.places import asset

SIDES_PX = {"small": 192, "full": 1600}
"""The longest side of an image that is sent, in the two sizes that a page asks for."""


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
        self._asked: queue.Queue[tuple[int, int, str]] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
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
            self._asked.put((version, index, "small" if message.get("size") == "small" else "full"))
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._answer, name="easel-images", daemon=True)
                    self._thread.start()

    def _answer(self) -> None:
        """Sends what was asked for, until nothing is left."""
        while True:
            with self._starting:
                if self._asked.empty():
                    self._thread = None
                    return
            version, index, size = self._asked.get()
            if version == self._version and 0 <= index < len(self._images):
                attempt(lambda: self._tell(version, index, size), lambda _: None)  # noqa: B023

    def _tell(self, version: int, index: int, size: str) -> None:
        content = encoded(self._images[index].path, SIDES_PX[size])
        kind = "image/jpeg" if content else ""
        self.send({"kind": "image", "version": version, "index": index, "size": size, "type": kind}, [content])


def encoded(path: Path, side_px: int) -> bytes:
    """An image as JPEG, upright and scaled down to a longest side; b"" if the file cannot be read."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            image.draft("RGB", (side_px, side_px))
            upright = ImageOps.exif_transpose(image)
            upright.thumbnail((side_px, side_px))
            content = io.BytesIO()
            upright.convert("RGB").save(content, "JPEG", quality=85)
    except (OSError, ValueError, Image.DecompressionBombError):
        return b""
    return content.getvalue()
