"""The live view of a run, and the heartbeat of the kernel."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from anywidget import AnyWidget

HERE = Path(__file__).parent
PICTURE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
LARGEST_PICTURE_BYTES = 8 * 1024**2
"""One message of Jupyter's websocket ends at 10 MiB, and with it the connection."""
THUMBNAIL_PX = 120


def asset(name: str) -> str:
    """The text of a file beside this one."""
    return (HERE / name).read_text(encoding="utf-8")


class Pulse(AnyWidget):
    """A banner that comes up when nothing is heard from the kernel any more."""

    _esm = asset("pulse.js")

    def beat(self) -> None:
        """Says that the kernel is there."""
        self.send({"kind": "beat"})


class Monitor(AnyWidget):
    """State, figures, loss chart, samples and log of one run. `hello` is called when a view asks for everything."""

    _esm = asset("chart.js") + asset("monitor.js")
    _css = asset("monitor.css")

    def __init__(self, hello: Callable[[], None], picture: Callable[[int], Path | None]) -> None:
        super().__init__()
        self._hello, self._picture = hello, picture
        self.on_msg(self._heard)

    def tell(self, message: Mapping[str, Any], buffers: list[bytes]) -> None:
        """Sends a message to every view."""
        self.send(dict(message), buffers)

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        if not isinstance(message, Mapping):
            return
        if message.get("kind") == "hello":
            self._hello()
        elif message.get("kind") == "picture" and isinstance(message.get("index"), int):
            self._send_picture(message["index"], "small" if message.get("size") == "small" else "full")

    def _send_picture(self, index: int, size: str) -> None:
        path = self._picture(index)
        found = picture(path, size) if path is not None else None
        if found is not None:
            kind, content = found
            self.send({"kind": "picture", "index": index, "size": size, "type": kind}, [content])


def picture(path: Path, size: str) -> tuple[str, bytes] | None:
    """Type and content of a sample, made small when `size` is "small" or the file is too large to send; None when unreadable."""
    kind = PICTURE_TYPES.get(path.suffix.lower())
    try:
        if kind is None or not path.is_file():
            return None
        if size != "small" and path.stat().st_size <= LARGEST_PICTURE_BYTES:
            return kind, path.read_bytes()
        return "image/jpeg", _shrunk(path, THUMBNAIL_PX if size == "small" else 2048)
    except (OSError, ValueError):
        return None


def _shrunk(path: Path, side_px: int) -> bytes:
    from PIL import Image

    with Image.open(path) as image:
        image.draft("RGB", (side_px, side_px))
        image.thumbnail((side_px, side_px))
        content = io.BytesIO()
        image.convert("RGB").save(content, "JPEG", quality=85)
    return content.getvalue()
