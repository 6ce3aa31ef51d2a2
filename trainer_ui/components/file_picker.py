"""A list of files and folders to choose from. The page asks for a folder; the kernel says what is in it, if it may be shown."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from anywidget import AnyWidget
from traitlets import Dict, Unicode

from trainer_core.errors import EaselError
from trainer_core.text import printable
from trainer_ui import browsing
from trainer_ui.boundary import attempt
from trainer_ui.components.places import asset

LONGEST_PATH = 4096
_NUMBER = re.compile(r" \d+$")

TOP = (
    "Up ends here: Easel shows only what is in the folders named above. For another folder, type its path into the field, "
    "or add it with: easel models folders add FOLDER"
)


class FilePicker(AnyWidget):
    """Shows one folder at a time. `wants` is "file", "folder" or "either"; files are those with one of the endings.

    A thread reads the folders, because one on another machine may take long. `chosen` is called with a path of the roots, and not
    in that thread: what follows from a choice may make widgets.
    """

    _esm = asset("file_picker.js")
    _css = asset("file_picker.css")

    wants = Unicode("file").tag(sync=True)
    title = Unicode().tag(sync=True)
    """What is to be chosen, for screen readers."""
    content = Dict({"version": 0}).tag(sync=True)
    """The folder that is shown: {"version", "path", "parent", "top", "items", "left_out", "starts", "said"}; `top` says why there is
    no way up."""

    def __init__(self, title: str, wants: str, extensions: tuple[str, ...], chosen: Callable[[Path], object]) -> None:
        super().__init__(title=printable(title, 120), wants=wants)
        self.extensions, self.chosen = extensions, chosen
        self.field = _NUMBER.sub("", printable(title, 120))
        """The field, without the number of its row: its folder is remembered."""
        self.closed: Callable[[], object] = lambda: None
        """Called when the user closes the picker without a choice."""
        self._version = 0
        self._telling = threading.Lock()
        self.on_msg(self._heard)

    def look_at(self, path: str = "") -> None:
        """Shows the folder of a path, or the one used last for this field, or one with models, or the home folder; in a thread."""
        self._start(lambda: self._show_first(path))

    def _show_first(self, path: str) -> None:
        tried = [path, os.path.dirname(path)] if path else []  # noqa: PTH120 - Path would make "" the working folder
        models = self.wants != "folder" and set(browsing.MODELS) <= set(self.extensions)
        starts = [*tried, *map(str, browsing.first_folders(self.field, models=models))]
        for start in starts:
            try:
                if start and Path(browsing.allowed(start, browsing.roots())).is_dir():
                    self._show(start, "")
                    return
            except EaselError:
                continue

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        if not isinstance(message, Mapping):
            return
        kind, path, find = message.get("kind"), message.get("path"), message.get("find", "")
        if kind == "close":
            self.closed()
        elif not isinstance(path, str) or not isinstance(find, str) or max(len(path), len(find)) > LONGEST_PATH:
            return
        elif kind == "open":
            self._start(lambda: self._show(path, find))
        elif kind == "choose":
            attempt(lambda: self._choose(path), self._say)

    def _start(self, work: Callable[[], object]) -> None:
        if self.comm is not None:  # it is None once the app was closed
            threading.Thread(target=attempt, args=(work, self._say), name="easel-files", daemon=True).start()

    def _choose(self, path: str) -> None:
        found = browsing.allowed(path, browsing.roots())
        if self.wants != "either" and found.is_dir() != (self.wants == "folder"):
            raise browsing.NotAllowedError(
                "Choose a file, not a folder." if self.wants == "file" else "Choose a folder."
            )
        # The path as the user sees it: a link may be what they want to keep.
        browsing.remember(Path(path) if found.is_dir() else Path(path).parent, self.field)
        self.chosen(Path(path))

    def _show(self, path: str, find: str) -> None:
        roots = browsing.roots()
        files = self.extensions if self.wants != "folder" else ()
        seen = browsing.look(path, roots, files, find)
        recent = [one for one in browsing.recent() if one not in {root.path for root in roots}]
        starts = [{"title": printable(root.title, 80), "path": str(root.path)} for root in roots]
        self._tell(
            path=str(seen.path),
            parent=str(seen.parent) if seen.parent else "",
            top="" if seen.parent else TOP,
            items=[
                {
                    "name": one.name,
                    "path": str(one.path),
                    "folder": one.is_folder,
                    "size": "" if one.is_folder else size(one.size_bytes),
                }
                for one in seen.items
            ],
            left_out=seen.left_out,
            starts=[*starts, *({"title": one.name, "path": str(one)} for one in recent)],
            said="",
        )

    def _say(self, sentence: str) -> None:
        """Shows a sentence, and the folder as before."""
        self._tell(**{**self.content, "said": sentence})

    def _tell(self, **content: Any) -> None:
        with self._telling:
            self._version += 1
            self.content = {**content, "version": self._version}


def size(size_bytes: int) -> str:
    """A size as text: "6.94 GB", "840 MB", "12 kB"."""
    if size_bytes >= 1e9:
        return f"{size_bytes / 1e9:.2f} GB"
    return f"{size_bytes / 1e6:.0f} MB" if size_bytes >= 1e6 else f"{max(1, round(size_bytes / 1e3))} kB"
