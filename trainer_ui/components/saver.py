"""Sends a file or a zip to the browser: a file by a link of the Jupyter server where that can read it, anything else in pieces.

A zip is made while it is sent, so it takes no space on the disk of this machine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from anywidget import AnyWidget
from traitlets import Bool, Int, Unicode

from trainer_core.errors import FilesError
from trainer_core.text import printable
from trainer_ui.boundary import attempt
from trainer_ui.components.download import linked
from trainer_ui.components.places import asset

if TYPE_CHECKING:
    from pathlib import Path

PIECE_BYTES = 2 << 20
IN_MEMORY_BYTES = 4 << 30
"""A browser that cannot write a file while it arrives keeps the whole of it."""


@dataclass(frozen=True)
class Offer:
    """What is sent: its name, its size (of a zip nearly), its bytes, and the file if it is one."""

    name: str
    size_bytes: int
    blocks: Callable[[], Iterator[bytes]]
    file: Path | None = None


class Saver(AnyWidget):
    """A button that downloads. `prepare` says what, when the user asks."""

    _esm = asset("dom.js", "saver.js")

    words = Unicode("Download").tag(sync=True)
    more = Unicode("").tag(sync=True)
    """What the button does, in a line below its words."""
    suggested = Unicode("").tag(sync=True)
    """The name that the browser proposes for a large download."""
    size = Int(0).tag(sync=True)
    """How many bytes it will be, nearly: a large download is written while it arrives, where the browser can do that."""
    disabled = Bool(False).tag(sync=True)

    def __init__(self, prepare: Callable[[], Offer]) -> None:
        super().__init__()
        self._prepare = prepare
        self._number = 0
        self._blocks: Iterator[bytes] = iter(())
        self._guard = threading.Lock()
        self.on_msg(self._heard)

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        """What the page says; it may be anything."""
        if not isinstance(message, Mapping):
            return
        kind, number = message.get("kind"), message.get("number")
        if kind == "begin":
            streams = message.get("streams") is True
            self._later(partial(self._begin, streams=streams))
        elif kind == "next" and number == self._number:
            self._later(partial(self._next, self._number))
        elif kind == "stop":
            self._number += 1
            self._blocks = iter(())

    def _later(self, work: Callable[[], object]) -> None:
        threading.Thread(target=lambda: attempt(work, self._fail), name="easel-saver", daemon=True).start()

    def _begin(self, *, streams: bool) -> None:
        offer = self._prepare()
        link = linked(offer.file) if offer.file is not None else ""
        if offer.size_bytes > IN_MEMORY_BYTES and not streams and not link:
            raise FilesError(
                f"{printable(offer.name, 200)} is too large for this browser, which would keep all of it in its memory.",
                "Use Chrome or Edge, which write it to your disk as it arrives, or take it in smaller parts.",
            )
        with self._guard:
            self._number += 1
            self._blocks = _pieces(offer.blocks())
        told = {"name": printable(offer.name, 200), "size": offer.size_bytes, "link": link}
        self.send({"kind": "offer", "number": self._number, **told}, [])

    def _next(self, number: int) -> None:
        # One at a time: the pieces have no places, only an order.
        with self._guard:
            if number != self._number:
                return
            block = next(self._blocks, b"")
            self.send({"kind": "piece", "number": number, "end": not block}, [block])

    def _fail(self, sentence: str) -> None:
        self._number += 1
        self.send({"kind": "failed", "text": printable(sentence, 600)}, [])


def file_blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file."""
    with path.open("rb") as file:
        while block := file.read(PIECE_BYTES):
            yield block


def _pieces(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces that a message can hold, and not many small ones."""
    kept: list[bytes] = []
    size = 0
    for block in blocks:
        kept.append(block)
        size += len(block)
        if size >= PIECE_BYTES:
            yield b"".join(kept)
            kept, size = [], 0
    if size:
        yield b"".join(kept)
