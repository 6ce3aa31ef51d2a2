"""Files that the browser sends: images, folders and zips of the user's computer, in pieces, into a folder where they wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from anywidget import AnyWidget
from traitlets import Bool, Unicode

from trainer_core.text import printable
from trainer_ui.boundary import attempt
from trainer_ui.components.places import asset

if TYPE_CHECKING:
    from trainer_core.curation.receiving import Received, Receiver

MOST_FILES = 50_000


class Uploader(AnyWidget):
    """A place to drop files, and buttons to choose them.

    `receive` makes the receiver of what is sent. `take` is called in a thread with what has arrived, which is removed afterwards;
    it returns a sentence for the user.
    """

    _esm = asset("dom.js", "uploader.js")
    _css = asset("uploader.css")

    title = Unicode().tag(sync=True)
    """What it is, for screen readers."""
    words = Unicode().tag(sync=True)
    """What can be dropped, and where it goes."""
    busy = Bool(False).tag(sync=True)
    """Whether nothing can be sent now."""

    def __init__(
        self,
        title: str,
        receive: Callable[[], Receiver],
        take: Callable[[Received], str],
    ) -> None:
        super().__init__(title=title)
        self._receive, self._take = receive, take
        self._lock = threading.Lock()
        self._number: int | None = None
        self._receiver: Receiver | None = None
        self.on_msg(self._heard)

    def focus(self) -> None:  # type: ignore[override]
        """Gives the keyboard to its first button, and brings it into sight."""
        self.send({"kind": "focus"}, [])

    def forget(self) -> None:
        """Forgets what was being sent. The widget stays: a page that is being opened again would wait for it without an end."""
        self._cancel(None)

    def _heard(self, _: Any, message: Any, buffers: Any) -> None:
        """What the page says; it may be anything."""
        if not isinstance(message, Mapping) or not isinstance(number := message.get("number"), int):
            return
        kind = message.get("kind")
        if kind == "begin":
            attempt(lambda: self._begin(number, message.get("files")), lambda why: self._end(number, why))
        elif kind == "cancel":
            self._cancel(number)
        elif number != self._number:
            return
        elif kind == "pieces":
            attempt(lambda: self._write(number, message.get("parts"), buffers), lambda why: self._fail(number, why))
        elif kind == "finish":
            threading.Thread(target=self._finish, args=(number,), name="easel-upload", daemon=True).start()

    def _begin(self, number: int, files: object) -> None:
        if not isinstance(files, list) or len(files) > MOST_FILES:
            return
        named = [{"path": one[0], "size": one[1]} for one in files if isinstance(one, list) and len(one) == 2]
        if len(named) != len(files):
            return
        self._cancel(None)
        receiver = self._receive()
        ids = [answer.id for answer in receiver.begin(named)]
        with self._lock:
            self._number, self._receiver = number, receiver
        self.send({"kind": "ready", "number": number, "ids": ids}, [])

    def _write(self, number: int, parts: object, buffers: Any) -> None:
        receiver = self._receiver
        if receiver is None or not isinstance(parts, list) or len(parts) != len(buffers):
            return
        for part, buffer in zip(parts, buffers, strict=True):
            if isinstance(part, list) and len(part) == 2 and isinstance(part[0], str) and type(part[1]) is int:
                receiver.write(part[0], part[1], buffer)
        self.send({"kind": "got", "number": number, "bytes": sum(len(buffer) for buffer in buffers)}, [])

    def _finish(self, number: int) -> None:
        with self._lock:
            receiver = self._receiver
            if receiver is None or number != self._number:
                return
            self._receiver = self._number = None
        said: list[str] = []

        attempt(lambda: said.append(self._take(receiver.finish())), said.append)
        receiver.close()
        self._end(number, said[-1] if said else "")

    def _fail(self, number: int, why: str) -> None:
        self._cancel(number)
        self._end(number, why)

    def _end(self, number: int, words: str) -> None:
        self.send({"kind": "end", "number": number, "text": printable(words, 1000)}, [])

    def _cancel(self, number: int | None) -> None:
        with self._lock:
            if self._receiver is None or (number is not None and number != self._number):
                return
            receiver, self._receiver, self._number = self._receiver, None, None
        attempt(receiver.cancel, lambda _: None)
