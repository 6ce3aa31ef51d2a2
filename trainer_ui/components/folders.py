"""The list of image folders: what each trains, and the values that it has of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from anywidget import AnyWidget
from traitlets import Dict, List, Unicode

from trainer_core.plan import fields
from trainer_core.plan.subsets import PATHS
from trainer_core.text import printable
from trainer_ui.components.places import asset
from trainer_ui.explaining import first_clause

LONGEST = 4096
"""The length in characters of a text that comes from the page."""
ACTS = ("remove", "copy", "browse", "fix", "set")
KINDS = {bool: "switch", int: "number", float: "share"}
COMMON = (
    "path",
    "repeats",
    "caption",
    "kind",
    "selection",
    "controls",
    "masks",
    "resolution",
    "caption_extension",
    "keep_tokens",
)
"""What is in front of the form, in this order; the rest is in a group of its own."""


def _field(name: str, field: fields.SettingField) -> dict[str, Any]:
    """What the page knows of a value that a folder can have: name, label, help, and which control it gets."""
    kind = "path" if name in PATHS else "choice" if field.choices or name == "selection" else ""
    return {
        "name": name,
        "title": f"{field.title} ({field.unit})" if field.unit else field.title,
        "help": field.doc,
        "line": first_clause(field.doc),
        "kind": kind or KINDS.get(field.base_type, "text"),
        "is_common": name in COMMON,
    }


class Folders(AnyWidget):
    """The list. `heard` is called with what the user does: a kind of ACTS with the number of a row, or "add" with a path."""

    _esm = asset("dom.js", "folders.js")

    fields: Any = List().tag(sync=True)
    """What a folder can have of its own, in the order of the form."""
    state: Any = Dict({"rows": [], "total": "", "version": 0, "most": False}).tag(sync=True)
    """The rows, what an epoch has, the version of the list, and whether no more can be added."""
    known = List().tag(sync=True)
    """The datasets that are known, as {"title", "path"}."""
    adding: Any = Dict({"is_open": False, "path": "", "offer": []}).tag(sync=True)
    """Whether the row to add a folder is shown, its path, and buttons for the folders inside it as {"id", "words"}."""
    told = Unicode().tag(sync=True)
    """Why what was entered cannot be used; "" if it can."""

    def __init__(self, heard: Callable[[Mapping[str, Any]], object]) -> None:
        known = fields.folder_fields()
        order = (*COMMON, *(name for name in known if name not in COMMON))
        super().__init__(fields=[_field(name, known[name]) for name in order])
        self._tell = heard
        self.on_msg(self._heard)

    def show_rows(self, rows: Iterable[Mapping[str, Any]], total: str, *, is_full: bool) -> None:
        """Shows these rows, as `panels.image_folders.row` makes them, and what an epoch has."""
        rows = list(rows)
        version = self.state["version"] + (len(rows) != len(self.state["rows"]))
        wanted = {"rows": rows, "total": total, "version": version, "most": is_full}
        if wanted != self.state:
            self.state = wanted

    def changed(self) -> None:
        """Makes messages about rows as they were before void: the same number may mean another folder now."""
        self.state = {**self.state, "version": self.state["version"] + 1}

    def show_adding(self, *, is_open: bool, path: str = "", offer: Iterable[tuple[str, str]] = ()) -> None:
        """Shows the row to add a folder, with a path and buttons as (id, words), or hides it."""
        buttons = [{"id": id_, "words": printable(words, 200)} for id_, words in offer]
        wanted = {"is_open": is_open, "path": printable(path, LONGEST), "offer": buttons}
        if wanted != self.adding:
            self.adding = wanted

    def give_keyboard(self, index: int, name: str) -> None:
        """Gives the keyboard back to the button that chooses a path of a row; -1 for the row to add a folder."""
        self.send({"kind": "focus", "index": index, "name": name})

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        """Passes on what the page says, if it has the form that it should have and is about the list as it is now."""
        if not isinstance(message, Mapping):
            return
        kind, index, path = message.get("kind"), message.get("index"), message.get("path")
        if kind in ("open", "close"):
            self._tell({"kind": kind})
        elif kind == "add":
            offer = message.get("offer", "")
            if (
                isinstance(path, str)
                and len(path) <= LONGEST
                and offer in ("", *(one["id"] for one in self.adding["offer"]))
            ):
                self._tell({"kind": kind, "path": path, "offer": offer})
        elif kind == "back":
            self._tell({"kind": "back"})
        elif kind in ACTS and type(index) is int and self._fits(message, index):
            self._tell({name: message.get(name) for name in ("kind", "index", "name", "value", "problem")})

    def _fits(self, message: Mapping[str, Any], index: int) -> bool:
        name, value, problem = message.get("name"), message.get("value"), message.get("problem")
        if message.get("kind") == "browse" and index == -1:
            return name == "path"
        row = next((one for one in self.state["rows"] if one["index"] == index), None)
        if row is None or message.get("version") != self.state["version"]:
            return False
        if message.get("kind") == "fix":
            return type(problem) is int and 0 <= problem < len(row["problems"])
        if message.get("kind") == "browse":
            return name in PATHS
        is_text = isinstance(value, str) and len(value) <= LONGEST
        return message.get("kind") != "set" or (name in fields.folder_fields() and is_text)
