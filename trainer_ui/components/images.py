"""Images for a page that asks for them: a thread reads and shrinks the files, because a large one takes long."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from trainer_ui.boundary import attempt

SIDES_PX = {"small": 192, "full": 1600}
"""The longest side of an image that is sent, in the two sizes that a page asks for."""
MOST_WAITING = 400
"""How many questions may wait: a page that asks for more is not answered."""

Question = TypeVar("Question")


class Answers(Generic[Question]):
    """Calls `answer` with each question in turn, in a thread that ends when nothing is left."""

    def __init__(self, answer: Callable[[Question], object]) -> None:
        self._answer = answer
        self._asked: queue.Queue[Question] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def ask(self, question: Question) -> None:
        """Has a question answered soon, unless too many wait."""
        with self._starting:
            if self._asked.full():
                return
            self._asked.put(question)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="easel-images", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            with self._starting:
                if self._asked.empty():
                    self._thread = None
                    return
            question = self._asked.get()
            attempt(lambda: self._answer(question), lambda _: None)  # noqa: B023


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


def kind_of(content: bytes) -> str:
    """The type of an encoded image for a page; "" if there is none."""
    return "image/jpeg" if content else ""
