"""Sends a file to the browser: by a link of the Jupyter server where that can read it, else in pieces.

A message of Jupyter has at most 10 MiB. Source: tornado, websocket_max_message_size.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from anywidget import AnyWidget
from traitlets import Bool, Dict, Unicode

from trainer_core import places
from trainer_core.text import printable
from trainer_ui.boundary import attempt
from trainer_ui.components.places import asset

PIECE_BYTES = 4 << 20
LARGEST_BYTES = 4 << 30
"""A browser keeps the whole file until the last piece has come."""


class Download(AnyWidget):
    """A button that downloads a file. `prepare` returns the file and its name when the user asks; it may take long."""

    _esm = asset("download.js")

    title = Unicode("Download").tag(sync=True)
    more = Unicode("").tag(sync=True)
    """What the button does, in a line below its title."""
    disabled = Bool(False).tag(sync=True)
    offer = Dict().tag(sync=True)
    """The file that is being sent: its number, name, size, and path for a link ("" for none)."""

    def __init__(self, prepare: Callable[[], tuple[Path, str]]) -> None:
        super().__init__()
        self._prepare = prepare
        self._number = 0
        self._file: Path | None = None
        self._asked: queue.Queue[tuple[int, int]] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.on_msg(self._heard)

    def begin(self) -> None:
        """Prepares the file, and offers it to the page."""
        threading.Thread(target=lambda: attempt(self._offer, self._fail), name="easel-download", daemon=True).start()

    def _offer(self) -> None:
        path, name = self._prepare()
        size = path.stat().st_size if path.is_file() else -1
        if size < 0:
            self._fail(f"{path.name} is a folder: copy it from the run folder.")
            return
        if size > LARGEST_BYTES and not linked(path):
            self._fail("The file is too large for a browser: copy it to a folder, and take it from there.")
            return
        self._number += 1
        self._file = path
        self.offer = {"number": self._number, "name": printable(name, 200), "size": size, "link": linked(path)}

    def _fail(self, sentence: str) -> None:
        self.send({"kind": "failed", "text": printable(sentence, 600)})

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        """What the page says; it may be anything."""
        if not isinstance(message, Mapping):
            return
        if message.get("kind") == "begin":
            self.begin()
            return
        number, start = message.get("number"), message.get("from")
        if message.get("kind") == "piece" and number == self._number and isinstance(start, int) and start >= 0:
            self._asked.put((self._number, start))
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._answer, name="easel-pieces", daemon=True)
                    self._thread.start()

    def _answer(self) -> None:
        """Sends the pieces that were asked for, until none is left."""
        while True:
            with self._lock:
                if self._asked.empty():
                    self._thread = None
                    return
            number, start = self._asked.get()
            path = self._file
            if number == self._number and path is not None:
                attempt(partial(self._send_piece, number, path, start), self._fail)

    def _send_piece(self, number: int, path: Path, start: int) -> None:
        with path.open("rb") as file:
            file.seek(start)
            content = file.read(PIECE_BYTES)
        self.send({"kind": "piece", "number": number, "from": start}, [content])


def linked(path: Path) -> str:
    """The path below the folder that the Jupyter server shows; "" if it does not serve the file.

    It serves nothing hidden. Source: jupyter_server, base/handlers.py, AuthenticatedFileHandler.validate_absolute_path.
    """
    root = places.notebook_root()
    if root is None:
        return ""
    try:
        relative = places.real(path).relative_to(places.real(root))
    except (ValueError, OSError):
        return ""
    return "" if any(part.startswith(".") for part in relative.parts) else relative.as_posix()
