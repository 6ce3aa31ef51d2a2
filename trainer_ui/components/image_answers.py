"""Answers a page that asks for images by a key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer_ui.components.images import Answers, encoded, kind_of

Send = Callable[[dict[str, Any], list[bytes]], object]


class ImageAnswers:
    """Sends the image of each key that was asked for. `find` gives its file, None if there is none; it may read the disk."""

    def __init__(self, send: Send, find: Callable[[str], Path | None], side_px: int) -> None:
        self._send, self._find, self._side_px = send, find, side_px
        self._answers = Answers(self._tell)

    def ask(self, key: str) -> None:
        """Sends {"kind": "image", "key", "type"} with the image soon; the type is "" if there is none."""
        self._answers.ask(key)

    def _tell(self, key: str) -> None:
        path = self._find(key)
        content = encoded(path, self._side_px) if path is not None else b""
        self._send({"kind": "image", "key": key, "type": kind_of(content)}, [content])
