"""The chart and the figures of a run, and the heartbeat of the kernel."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from anywidget import AnyWidget

HERE = Path(__file__).parent
IMAGE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
LARGEST_IMAGE_BYTES = 8 * 1024**2
"""The limit of one message on Jupyter's websocket is 10 MiB; a longer one closes the connection."""
THUMBNAIL_PX = 120


def asset(name: str) -> str:
    """The text of a file in this folder."""
    return (HERE / name).read_text(encoding="utf-8")


class Pulse(AnyWidget):
    """A banner that appears when the page hears nothing from the kernel any more."""

    _esm = asset("pulse.js")

    def beat(self) -> None:
        """Tells the page that the kernel runs."""
        self.send({"kind": "beat"})


class Monitor(AnyWidget):
    """The loss chart and the figures of one job. `hello` is called when a view asks for everything."""

    _esm = asset("dom.js") + asset("chart.js") + asset("monitor.js")

    def __init__(self, hello: Callable[[], None]) -> None:
        super().__init__()
        self._hello = hello
        self.on_msg(self._heard)

    def tell(self, message: Mapping[str, Any], buffers: list[bytes]) -> None:
        """Sends a message to every view."""
        self.send(dict(message), buffers)

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        if isinstance(message, Mapping) and message.get("kind") == "hello":
            self._hello()


def encoded_image(path: Path, size: str) -> tuple[str, bytes] | None:
    """MIME type and content of a sample, scaled down if `size` is "small" or the file is too large to send; None if unreadable."""
    kind = IMAGE_TYPES.get(path.suffix.lower())
    try:
        if kind is None or not path.is_file():
            return None
        if size != "small" and path.stat().st_size <= LARGEST_IMAGE_BYTES:
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
