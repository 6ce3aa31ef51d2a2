"""The files of a folder as a table that makes only the rows in sight. The page sorts and filters; it tells what the user does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anywidget import AnyWidget

from trainer_core.text import printable
from trainer_ui.components.places import asset

LONGEST_NAME = 255
KINDS = ("open", "choose", "rename", "delete", "go")
REMEMBERED = 20
"""So many lists that were sent are known: what the user does to an older list of the same folder counts."""


@dataclass(frozen=True)
class Asked:
    """What the user did: `what` is "open", "choose", "rename", "delete" or "go" (to the folder at this `depth` of the path)."""

    what: str
    names: tuple[str, ...] = ()
    text: str = ""
    depth: int = 0


@dataclass(frozen=True)
class Row:
    """A file or folder: its name, kind, size in bytes, time of its change (Unix time), and a word about a link."""

    name: str
    kind: str
    size_bytes: int
    modified_s: float
    is_folder: bool
    link: str = ""


class FilesTable(AnyWidget):
    """The rows of one folder. `heard` is called with what the user did."""

    _esm = asset("dom.js", "files_table.js")
    _css = asset("files_table.css")

    def __init__(self, heard: Callable[[Asked], object]) -> None:
        super().__init__()
        self._tell = heard
        self._version = -1
        self._paths: dict[object, tuple[str, ...]] = {}
        """The path of each of the last lists, by its version."""
        self._names: frozenset[str] = frozenset()
        self._content: dict[str, Any] = {}
        self.on_msg(self._heard)

    def show_rows(self, version: int, path: Sequence[str], rows: Sequence[Row], note: str, *, can_change: bool) -> None:
        """Shows a folder with its path; sends nothing if this version is shown already."""
        if version == self._version:
            return
        self._version = version
        self._paths[version] = tuple(path)
        while len(self._paths) > REMEMBERED:
            self._paths.pop(next(iter(self._paths)))
        self._names = frozenset(one.name for one in rows)
        self._content = {
            "path": [printable(name, 100) for name in path],
            # The names as they are: the page sends them back, and sets them as text only.
            "rows": [[one.name, one.kind, one.size_bytes, one.modified_s, one.is_folder, one.link] for one in rows],
            "note": printable(note, 300),
            "can": can_change,
        }
        self._tell_page()

    def show_chosen(self, names: Sequence[str]) -> None:
        """Shows which files are chosen, if the kernel has changed that."""
        self.send({"kind": "chosen", "version": self._version, "names": list(names)}, [])

    def _tell_page(self) -> None:
        self.send({"kind": "rows", "version": self._version, **self._content}, [])

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        if not isinstance(message, Mapping):
            return
        kind = message.get("kind")
        if kind == "hello":
            if self._content:
                self._tell_page()
            return
        names, text, depth = message.get("names", []), message.get("text", ""), message.get("depth", 0)
        version = message.get("version")
        # The list may have been read again while the user acted on it.
        is_of_folder = type(version) is int and self._paths.get(version, None) == self._paths.get(self._version, ())
        is_sound = isinstance(names, list) and isinstance(text, str) and type(depth) is int and is_of_folder
        if kind not in KINDS or not is_sound or len(text) > LONGEST_NAME or not self._names.issuperset(map(str, names)):
            return
        self._tell(Asked(kind, tuple(map(str, names)), text, depth))
