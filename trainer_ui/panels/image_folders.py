"""Further image folders beside that of the dataset: a row for each with what it trains, which opens to its own values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.errors import EaselError, PlanError
from trainer_core.plan import fields
from trainer_core.plan.subsets import CLASS, LIST, MOST_SUBSETS
from trainer_core.prepare import image_folders
from trainer_core.text import printable
from trainer_ui.components.folders import LONGEST, Folders
from trainer_ui.controls import plain_number
from trainer_ui.formatting import show
from trainer_ui.widgets import Button, VBox

if TYPE_CHECKING:
    from trainer_core.plan.fields import SettingField
    from trainer_core.prepare.image_folders import Part
    from trainer_core.problems import Fix
    from trainer_ui.components.file_picker import FilePicker
    from trainer_ui.session import Session

TONES = ("error", "warning")
KINDS = [["", "The subject"], ["regularisation", "Class images"]]
EACH, ONE = "each", "one"
"""The offers for a folder with folders inside whose names say their repeats."""
NOT_USUAL = ("path", "kind", "selection")
"""What a folder does not take over from the settings of the dataset."""
ADDING = -1
"""In the place of a row: the row to add a folder."""


class ImageFolders:
    """The list, the button that takes a whole layout of sub-folders, and the file picker of both."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.list = Folders(lambda told: session.handler(lambda _: self._heard(told))())
        self.layout = Button(classes=("easel-small",))
        self.layout.on_click(session.handler(lambda _: self._take_layout()))
        self.picked = VBox(classes=("easel-browse",))
        self.picker: FilePicker | None = None
        self.widget = VBox([self.layout, self.list, self.picked], classes=("easel-more-folders",))
        self._parts: Sequence[Part] = ()
        self._fix: Fix | None = None
        self._gone: tuple[int, Mapping[str, Any]] | None = None
        """The entry that was removed last, with its place in the list."""
        self._picks = ADDING, "path"

    @property
    def _state(self) -> Any:
        return self.session.bench.state

    def show(self, known: Sequence[tuple[str, str]] = ()) -> None:
        """Shows the folders of the job; `known` are the datasets that are known, as (title, path)."""
        session = self.session
        self._parts = image_folders.parts(self._state, session.problems)
        further = [part for part in self._parts if part.folder.setting == LIST]
        self._fix = image_folders.whole_layout(session.problems)
        show(self.layout, self._fix is not None)
        if self._fix is not None:
            self.layout.description = printable(self._fix.label, 300)
        offered = image_folders.offered(self._state)
        rows = [row(part, offered) for part in self._parts] if further else []
        total = image_folders.epoch(self._state, self._parts) if further else ""
        self.list.show_rows(rows, total, is_full=len(further) >= MOST_SUBSETS)
        datasets = [{"title": printable(title, 120), "path": path} for title, path in known if path]
        if self.list.known != datasets:
            self.list.known = datasets
        (self.widget.remove_class if session.values["dataset.path"] else self.widget.add_class)("easel-away")

    # ---- what the user does ----
    def _heard(self, told: Mapping[str, Any]) -> None:
        self.list.told = ""
        kind = told["kind"]
        if kind in ("open", "close"):
            self._close_picker()
            self.list.show_adding(is_open=kind == "open")
        elif kind == "add":
            self._add(told["path"], told["offer"])
        elif kind == "back" and self._gone is not None:
            (place, table), self._gone = self._gone, None
            self._change(image_folders.added(self._state, [table], place))
        elif kind == "browse":
            self._browse(told["index"], told["name"])
        elif kind in ("remove", "copy", "set", "fix"):
            self._act(kind, told)

    def _act(self, kind: str, told: Mapping[str, Any]) -> None:
        index = told["index"]
        if kind == "set":
            self._set(index, told["name"], told["value"])
        elif kind == "copy":
            self._change(image_folders.copied(self._state, index))
        elif kind == "remove":
            self._gone = index, self._part(index).own
            self._change(image_folders.removed(self._state, index))
        else:
            part = self._part(index)
            fix = part.problems[told["problem"]].fix
            if fix is not None:
                self._change(fix.changes)

    def _part(self, index: int) -> Part:
        return next(part for part in self._parts if part.folder.setting == LIST and part.folder.index == index)

    def _change(self, values: Mapping[str, Any]) -> None:
        self.list.changed()
        self.session.change(values)

    def _set(self, index: int, name: str, text: str) -> None:
        try:
            self.session.change(
                image_folders.changed(self._state, index, name, parsed(fields.folder_fields()[name], text))
            )
        except PlanError as error:
            self.list.told = printable(str(error), 300)

    def _add(self, path: str, offer: str) -> None:
        try:
            inside = image_folders.below(path) if offer != ONE else ()
            if inside and offer != EACH:
                self.list.show_adding(is_open=True, path=path, offer=_offers(inside))
                return
            self._change(image_folders.added(self._state, inside or [image_folders.entry(path)]))
        except EaselError as error:
            self.list.told = printable(str(error), 300)
            self.list.show_adding(is_open=True, path=path)
            return
        self.list.show_adding(is_open=False)

    def _take_layout(self) -> None:
        if self._fix is not None:
            self._change(self._fix.changes)

    # ---- the file picker ----
    def _browse(self, index: int, name: str) -> None:
        from trainer_ui.components.file_picker import FilePicker

        self._picks = index, name
        if self.picker is None:
            self.picker = FilePicker("Image folder", "folder", (), self._chosen)
            self.picker.closed = self.session.handler(lambda _: self._close_picker(gives_back=True))
        self.picked.children = (self.picker,)
        own = next((part.own for part in self._parts if part.folder.index == index), {})
        self.picker.look_at(str(own.get(name) or self.session.values["dataset.path"]))

    def _close_picker(self, *, gives_back: bool = False) -> None:
        self.picked.children = ()
        if gives_back:
            self.list.give_keyboard(*self._picks)

    def _chosen(self, path: Path) -> None:
        self.session.handler(lambda _: self._take(str(path)))()

    def _take(self, path: str) -> None:
        index, name = self._picks
        self._close_picker(gives_back=index != ADDING)
        self.list.told = ""
        if index == ADDING:
            self._add(path, "")
        else:
            self._set(index, name, path)


def _offers(inside: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    names = ", ".join(Path(one["path"]).name for one in inside[:3]) + (", …" if len(inside) > 3 else "")
    each = "Add the folder in it" if len(inside) == 1 else f"Add the {len(inside)} folders in it, each with its repeats"
    return [(EACH, f"{each}: {names}"), (ONE, "Add it as one folder")]


def parsed(field: SettingField, text: str) -> Any:
    """What was entered, in the type of the value; text that is none stays text, which is refused. None for nothing."""
    text = text.strip()
    if field.base_type is bool:
        return {"on": True, "off": False}.get(text, text or None)
    if field.base_type not in (int, float) or not text:
        return text or None
    try:
        return field.base_type(text)
    except ValueError:
        return text


def row(part: Part, offered: Sequence[str]) -> dict[str, Any]:
    """A folder as the page shows it. "index" is None for one that has no form here: its values are settings of the dataset.

    "own" are its values, "usual" those that it has without, "offered" what it can have, "choices" the options of dropdowns.
    """
    folder, known = part.folder, fields.folder_fields()
    problems = [
        {"severity": one.severity, "message": printable(one.message, 400), "fix": _label(one.fix)}
        for one in part.problems
    ]
    severities = [one["severity"] for one in problems]
    usual = {name: _text(getattr(folder, name, None)) for name in known if name not in (*NOT_USUAL, *part.own)}
    return {
        "index": folder.index if folder.setting == LIST else None,
        "title": part.title,
        "path": printable(folder.path, LONGEST),
        "sum": part.sum,
        "notes": " · ".join(part.notes),
        "tone": next((tone for tone in TONES if tone in severities), "error" if part.error else ""),
        "own": {name: _text(value) for name, value in part.own.items()},
        "usual": usual if folder.setting == LIST else {},
        "offered": list(offered) if folder.setting == LIST else [],
        "choices": _choices(part) if folder.setting == LIST else {},
        "problems": problems if folder.setting != CLASS else [],
    }


def _choices(part: Part) -> dict[str, list[list[str]]]:
    found = {
        name: [["", f"as the first: {_text(getattr(part.folder, name)) or 'default'}"], ["on", "on"], ["off", "off"]]
        for name, field in fields.folder_fields().items()
        if field.base_type is bool
    }
    own = part.own.get("selection", "")
    named = {own: 0, **part.selections} if own else part.selections
    selections = [
        [name, f"{printable(name, 64)} ({many:,})" if many else printable(name, 64)] for name, many in named.items()
    ]
    return {**found, "selection": [["", "All images"], *selections], "kind": KINDS}


def _label(fix: Fix | None) -> str:
    return printable(fix.label, 200) if fix is not None and fix.changes else ""


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return plain_number(float(value)) if isinstance(value, float) else str(value)
    return printable(value, LONGEST) if isinstance(value, str) else ""
