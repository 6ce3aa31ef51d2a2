"""Answers a page that asks for images: a thread reads and shrinks the files, because a large one takes long."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer_ui.boundary import attempt
from trainer_ui.components.gallery import encoded

MOST_WAITING = 400
"""How many questions may wait: a page that asks for more is not answered."""

Send = Callable[[dict[str, Any], list[bytes]], object]


class ImageAnswers:
    """Sends the image of each key that was asked for. `find` gives its file, None if there is none; it may read the disk."""

    def __init__(self, send: Send, find: Callable[[str], Path | None], side_px: int) -> None:
        self._send, self._find, self._side_px = send, find, side_px
        self._asked: queue.Queue[str] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def ask(self, key: str) -> None:
        """Sends {"kind": "image", "key", "type"} with the image soon; the type is "" if there is none."""
        with self._starting:
            if self._asked.full():
                return
            self._asked.put(key)
            if self._thread is None:
                self._thread = threading.Thread(target=self._answer, name="easel-images", daemon=True)
                self._thread.start()

    def _answer(self) -> None:
        while True:
            with self._starting:
                if self._asked.empty():
                    self._thread = None
                    return
            key = self._asked.get()
            attempt(lambda: self._tell(key), lambda _: None)  # noqa: B023

    def _tell(self, key: str) -> None:
        path = self._find(key)
        content = encoded(path, self._side_px) if path is not None else b""
        self._send({"kind": "image", "key": key, "type": "image/jpeg" if content else ""}, [content])
