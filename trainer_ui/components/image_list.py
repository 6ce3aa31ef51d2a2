"""A list of thousands of images: the page makes the tiles that are in sight, and asks for their thumbnails."""

from __future__ import annotations

import array
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from anywidget import AnyWidget
from traitlets import Unicode

from trainer_core.text import printable
from trainer_ui.boundary import attempt
from trainer_ui.components.places import asset

TYPE = "image/jpeg"
"""The type of a thumbnail (`trainer_core.curation.thumbnails`)."""
AT_ONCE = 8
"""So many thumbnails are sent with one message: the first ones are seen while the others are made."""
MOST_ASKED = 60
WORKERS = 2
CAPTIONED, WARNING, STOPS, KEEP, REJECT, UNSEEN = 1, 2, 4, 8, 16, 32
"""What a tile shows, as bits."""
MARKS = ("keep", "reject")


@dataclass(frozen=True)
class Tile:
    """An image of the list: its number, file, printable name, what its tile shows, what is wrong with it, and its version."""

    id: int
    path: Path
    name: str
    flags: int = 0
    note: str = ""
    stamp: int = 0

    def as_data(self) -> list[Any]:
        """The tile as the page gets it."""
        return [self.id, printable(self.name, 120), self.flags, printable(self.note, 300), self.stamp]


@dataclass(frozen=True)
class Heard:
    """What is called when the user does something; each gets numbers of images.

    `fails` is called in the thread that makes thumbnails, with the images of which none can be made.
    """

    choose: Callable[[frozenset[int]], object]
    go: Callable[[int], object]
    mark: Callable[[tuple[int, str]], object]
    fails: Callable[[Sequence[int]], object] = lambda _: None


class ImageList(AnyWidget):
    """The list. A click or the arrow keys make an image the `current` one; any number of images can be chosen."""

    _esm = asset("dom.js", "image_list.js")
    _css = asset("image_list.css")

    title = Unicode().tag(sync=True)
    """What the images are, for screen readers."""
    empty = Unicode().tag(sync=True)
    """What is shown when there is no image."""

    def __init__(self, title: str, heard: Heard) -> None:
        super().__init__(title=title)
        self._on = heard
        self._lock = threading.Lock()
        self._version = 0
        self._tiles: dict[int, Tile] = {}
        self._order: tuple[int, ...] = ()
        self._chosen: frozenset[int] = frozenset()
        self._current = -1
        self._number = 0
        """The number of the last action of the user that was heard: the page ignores what was said before it."""
        self._wanted: list[int] = []
        self._thread: threading.Thread | None = None
        self.on_msg(self._heard)

    def show_images(self, tiles: Iterable[Tile], *, anew: bool = False) -> None:
        """Sets which images there are; only those that changed are sent, unless they belong to another dataset (`anew`)."""
        found = {tile.id: tile for tile in tiles}
        with self._lock:
            before, self._tiles = self._tiles, found
            if anew:
                self._version += 1
                self._order, self._chosen, self._wanted, before = (), frozenset(), [], {}
                self._current, self._number = -1, 0
            changed = [tile for tile in found.values() if (old := before.get(tile.id)) is not tile and old != tile]
            version = self._version
        if changed or anew:
            self._send_items(changed, version, whole=anew)

    def show_order(self, ids: Sequence[int]) -> None:
        """Shows these images, in this order."""
        with self._lock:
            if self._order == tuple(ids):
                return
            self._order = tuple(ids)
        self._send_order()

    def choose(self, ids: Iterable[int]) -> None:
        """Chooses these images, and no other one."""
        with self._lock:
            if (wanted := frozenset(ids)) == self._chosen:
                return
            self._chosen = wanted
        self._send_chosen()

    def show_current(self, number: int) -> None:
        """Makes this image the current one; -1 for none."""
        with self._lock:
            if number == self._current:
                return
            self._current = number
        self._send_current()

    # ---- to the page ----
    def _send_items(self, tiles: Iterable[Tile], version: int, *, whole: bool) -> None:
        self.send(
            {"kind": "items", "version": version, "whole": whole, "items": [tile.as_data() for tile in tiles]}, []
        )

    def _send_order(self) -> None:
        self.send({"kind": "order", "version": self._version}, [array.array("I", self._order).tobytes()])

    def _send_chosen(self) -> None:
        told = {"kind": "chosen", "version": self._version, "number": self._number, "ids": sorted(self._chosen)}
        self.send(told, [])

    def _send_current(self) -> None:
        told = {"kind": "current", "version": self._version, "number": self._number, "id": self._current}
        self.send(told, [])

    # ---- from the page, which may say anything ----
    def _heard(self, _: Any, message: Any, __: Any) -> None:
        if not isinstance(message, Mapping):
            return
        kind = message.get("kind")
        if kind == "hello":
            with self._lock:
                tiles, version = list(self._tiles.values()), self._version
            self._send_items(tiles, version, whole=True)
            self._send_order()
            self._send_chosen()
            self._send_current()
        elif message.get("version") == self._version:
            self._heard_of_images(kind, message)

    def _heard_of_images(self, kind: object, message: Mapping[str, Any]) -> None:
        if type(number := message.get("number")) is int:
            # A page that was opened anew counts from the start.
            self._number = number
        if kind == "go":
            known = self._known(message.get("id"))
            if known is not None:
                self._current = known
                self._on.go(known)
            return
        if kind == "mark":
            known, mark = self._known(message.get("id")), message.get("mark")
            if known is not None and mark in MARKS:
                self._on.mark((known, mark))
            return
        ids = message.get("ids")
        found = [number for number in ids if self._known(number) is not None] if isinstance(ids, list) else []
        if kind == "choose":
            with self._lock:
                self._chosen = frozenset(found)
            self._on.choose(frozenset(found))
        elif kind == "thumbs":
            self._ask(found[:MOST_ASKED])

    def _known(self, number: object) -> int | None:
        """The number of an image in the list; None for anything else."""
        if not isinstance(number, int) or isinstance(number, bool):
            return None
        return number if number in self._tiles else None

    # ---- thumbnails ----
    def _ask(self, ids: list[int]) -> None:
        """What is asked for last comes first; what was asked for before and has left the sight waits."""
        with self._lock:
            self._wanted = [*ids, *(one for one in self._wanted if one not in ids)][: 2 * MOST_ASKED]
            if self._thread is None:
                self._thread = threading.Thread(target=self._answer, name="easel-thumbnails", daemon=True)
                self._thread.start()

    def _answer(self) -> None:
        from trainer_core.curation import thumbnails

        with ThreadPoolExecutor(WORKERS, "easel-thumbnail") as pool:
            while True:
                with self._lock:
                    ids, self._wanted = self._wanted[:AT_ONCE], self._wanted[AT_ONCE:]
                    if not ids:
                        self._thread = None
                        return
                    version = self._version
                    tiles = [self._tiles[number] for number in ids if number in self._tiles]
                made = pool.map(lambda tile: thumbnails.of(tile.path), tiles)
                attempt(partial(self._send_thumbs, version, tiles, made), lambda _: None)

    def _send_thumbs(self, version: int, tiles: Sequence[Tile], made: Iterable[bytes]) -> None:
        found = list(made)
        items = [
            {"id": tile.id, "stamp": tile.stamp, "type": TYPE if content else ""}
            for tile, content in zip(tiles, found, strict=True)
        ]
        self.send({"kind": "thumbs", "version": version, "items": items}, found)
        if failed := [tile.id for tile, content in zip(tiles, found, strict=True) if not content]:
            self._on.fails(failed)
