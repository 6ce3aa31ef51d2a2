"""Large files that the browser sends: in pieces, with their SHA-256, paused, and resumed after a cut.

The page computes the SHA-256 of each file while it sends it. What is here of a file after a reload of the page or a restart of the
kernel is compared with the file by the SHA-256 of that part, and then the file goes on.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from anywidget import AnyWidget
from traitlets import Bool, Unicode

from trainer_core.text import printable
from trainer_ui.boundary import attempt
from trainer_ui.components.places import asset

if TYPE_CHECKING:
    from trainer_core.keeping.receiving import Arrived, Receiver

MOST_FILES = 50_000
LONGEST_ID = 20
QUIET_S = 2.0
"""A page that sends files is never silent for so long."""


@dataclass(frozen=True)
class Said:
    """What is said of a file that is here: a sentence, the folder where it belongs if that is another one, and single notes.

    `is_doubtful`: it cannot be what its name says, for example because it is empty.
    """

    text: str = ""
    belongs: str = ""
    notes: tuple[str, ...] = ()
    is_doubtful: bool = False


class Arrivals(AnyWidget):
    """A place to drop files, and what became of each of them.

    `receive` makes the receiver of what is sent. `arrived` is called in a thread with each file that is complete, and whether a zip
    shall be unpacked; it returns what is said of it. `accept` moves it to where it belongs.
    """

    _esm = asset("dom.js", "sha256.js", "arrivals.js")
    _css = asset("arrivals.css")

    title = Unicode("Files from your computer").tag(sync=True)
    """What it is, for screen readers."""
    target = Unicode().tag(sync=True)
    """The folder that the files go into."""
    busy = Bool(False).tag(sync=True)
    """Whether nothing can be sent now."""

    def __init__(
        self,
        receive: Callable[[], Receiver],
        arrived: Callable[[Arrived, bool], Said],
        accept: Callable[[Arrived], str],
        changed: Callable[[], object],
    ) -> None:
        super().__init__()
        self._receive, self._arrived, self._accept, self._changed = receive, arrived, accept, changed
        self._number: int | None = None
        self._heard_s = 0.0
        self._receiver: Receiver | None = None
        self._here: dict[str, Arrived] = {}
        self._told: dict[str, dict[str, Any]] = {}
        self._work: queue.Queue[Callable[[], object]] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.on_msg(self._heard)

    def focus(self) -> None:  # type: ignore[override]
        """Gives the keyboard to its first button."""
        self.send({"kind": "focus"}, [])

    def close_receiver(self) -> None:
        """Ends what is being received; the parts stay for the next time."""
        with self._lock:
            receiver, self._receiver, self._number = self._receiver, None, None
        if receiver is not None:
            receiver.close()

    @property
    def is_receiving(self) -> bool:
        """Whether files were announced that the page has not done with."""
        return self._receiver is not None

    # ---- what the page says; it may be anything ----
    def _heard(self, _: Any, message: Any, buffers: Any) -> None:
        if (
            isinstance(message, Mapping)
            and message.get("kind") == "hello"
            and time.monotonic() - self._heard_s > QUIET_S
        ):
            # A page was opened, and the one that was sending is gone: it may begin again.
            self._later(self._end)
        if not isinstance(message, Mapping) or type(number := message.get("number")) is not int:
            return
        self._heard_s = time.monotonic()
        kind = message.get("kind")
        if kind == "announce":
            self._later(partial(self._announce, number, message.get("at"), message.get("files")))
        elif kind == "accept" and isinstance(name := message.get("id"), str):
            # Also when everything has arrived, and nothing is received any more.
            self._later(lambda: attempt(partial(self._move, number, name), partial(self._failed, number, name)))
        elif number != self._number:
            # What was sent before a reload of the page, or to a kernel that was restarted.
            if kind == "pieces":
                self._say(number, "lost")
        elif kind == "pieces":
            attempt(partial(self._write, number, message.get("parts"), buffers), partial(self._failed, number, ""))
        elif kind == "end":
            self._later(self._end)
        elif isinstance(name := message.get("id"), str) and len(name) <= LONGEST_ID:
            self._of_file(number, kind, name, message)

    def _of_file(self, number: int, kind: object, name: str, message: Mapping[str, Any]) -> None:
        works: dict[object, Callable[[], object]] = {
            "check": lambda: self._check(number, name),
            "restart": lambda: self._restart(number, name),
            "finish": lambda: self._finish(number, name, message),
            "discard": lambda: self._discard(number, name),
        }
        if (work := works.get(kind)) is not None:
            self._later(lambda: attempt(work, partial(self._failed, number, name)))

    def _later(self, work: Callable[[], object]) -> None:
        """Does something slow in the thread, one after the other."""
        self._work.put(work)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="easel-arrivals", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._work.empty():
                    self._thread = None
                    return
            attempt(self._work.get(), lambda _: None)

    def _announce(self, number: int, at: object, files: object) -> None:
        if not isinstance(files, list) or len(files) > MOST_FILES or type(at) is not int:
            return
        rows = [{"path": one[0], "size": one[1]} for one in files if isinstance(one, list) and len(one) == 2]
        if len(rows) != len(files):
            return

        def begin() -> None:
            if number != self._number or self._receiver is None:
                self.close_receiver()
                receiver = self._receive()
                with self._lock:
                    self._receiver, self._number = receiver, number
            answers = self._known().announce(rows)
            told = [
                [one.id, one.have, one.is_taken, printable(one.reason, 300), one.spot.text if one.spot else ""]
                for one in answers
            ]
            self._say(number, "answers", at=at, rows=told)
            self._changed()

        attempt(begin, lambda why: self._say(number, "refused", at=at, text=printable(why, 600)))

    def _known(self) -> Receiver:
        if self._receiver is None:
            from trainer_core.errors import FilesError

            raise FilesError("These files are not expected any more.", "Choose them again.")
        return self._receiver

    def _check(self, number: int, name: str) -> None:
        have, digest = self._known().check(name)
        self._say(number, "checked", id=name, have=have, sha256=digest)

    def _restart(self, number: int, name: str) -> None:
        self._known().restart(name)
        self._say(number, "checked", id=name, have=0, sha256="")

    def _write(self, number: int, parts: object, buffers: Any) -> None:
        if not isinstance(parts, list) or len(parts) != len(buffers):
            return
        receiver, got = self._known(), []
        for part, buffer in zip(parts, buffers, strict=True):
            if isinstance(part, list) and len(part) == 2 and isinstance(part[0], str) and type(part[1]) is int:
                attempt(
                    lambda part=part, buffer=buffer: got.append([part[0], receiver.write(part[0], part[1], buffer)]),
                    partial(self._failed, number, part[0]),
                )
        self._say(number, "got", parts=got)

    def _finish(self, number: int, name: str, message: Mapping[str, Any]) -> None:
        key = f"{number} {name}"
        if (told := self._told.get(key)) is not None:
            # The page has not heard the answer: the connection was lost.
            self._say(number, "arrived", **told)
            return
        sha256 = message.get("sha256")
        choice = "replace" if message.get("choice") == "replace" else "both"
        one = self._known().finish(name, sha256 if isinstance(sha256, str) else "", choice)
        self._here[key] = one
        said = self._arrived(one, message.get("unpack") is True)
        more = f"The old {printable(one.replaced, 100)} is in the trash." if one.replaced else ""
        self._told[key] = {
            "id": name,
            "name": printable(one.spot.text, 300),
            "sha256": one.sha256,
            "text": printable(" ".join(filter(None, (said.text, one.renamed, more))), 900),
            "belongs": printable(said.belongs, 100),
            "notes": [printable(note, 400) for note in said.notes],
            "doubtful": said.is_doubtful,
        }
        self._say(number, "arrived", **self._told[key])

    def _discard(self, number: int, name: str) -> None:
        self._known().discard(name)
        self._say(number, "discarded", id=name)
        self._changed()

    def _move(self, number: int, name: str) -> None:
        if (one := self._here.get(f"{number} {name}")) is not None:
            self._say(number, "moved", id=name, text=printable(self._accept(one), 300))
            self._changed()

    def _end(self) -> None:
        self.close_receiver()
        self._changed()

    def _failed(self, number: int, name: str, why: str) -> None:
        self._say(number, "failed", id=name, text=printable(why, 600))

    def _say(self, number: int, kind: str, **more: Any) -> None:
        self.send({"kind": kind, "number": number, **more}, [])
