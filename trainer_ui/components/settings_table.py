"""Every setting of a job as a table: the page searches and filters it, the kernel checks what is entered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anywidget import AnyWidget
from traitlets import Int

from trainer_core.text import printable
from trainer_ui.components.places import asset

if TYPE_CHECKING:
    from trainer_core.prepare.all_settings import Row

LONGEST = 20_000
"""Characters of a value that a page can send."""
WORDS = (
    "path", "title", "group", "group_title", "topic", "help", "kind", "shown", "default", "source", "reason", "unit", "bounds",
    "follows", "inside", "engine_default", "why_not", "note", "problem", "severity",
)  # fmt: skip
FLAGS = ("can_set", "is_mine", "is_changed", "has_help")
"""The entries of a row that a page gets."""


class SettingsTable(AnyWidget):
    """The table. After the first time a page gets only the rows that have changed."""

    _esm = asset("settings_table.js")
    _css = asset("settings_table.css")

    opened = Int().tag(sync=True)
    """How often the user has opened it: the page then puts the keyboard into the search."""

    def __init__(
        self,
        enter: Callable[[tuple[str, str | bool]], None],
        reset: Callable[[str], None],
        close: Callable[[None], None],
    ) -> None:
        """`enter` gets a path and what was entered for it, `reset` a path, and `close` nothing."""
        super().__init__()
        self._enter, self._reset, self._close = enter, reset, close
        self._rows: dict[str, dict[str, Any]] = {}
        self._can_set: set[str] = set()
        self._mine: set[str] = set()
        self._engine = ""
        self.on_msg(self._heard)

    def show_rows(self, rows: Sequence[Row], engine: str) -> None:
        """Shows these rows; `engine` is the title of the engine whose options are among them."""
        sent = {row.path: _sent(row) for row in rows}
        same = list(sent) == list(self._rows) and engine == self._engine
        changed = [row for path, row in sent.items() if row != self._rows.get(path)]
        self._rows, self._engine = sent, engine
        self._can_set = {row.path for row in rows if row.can_set}
        self._mine = {row.path for row in rows if row.is_mine}
        if not same:
            self._send_all()
        elif changed:
            self.send({"kind": "changed", "rows": changed})
        self.send({"kind": "done"})

    def _send_all(self) -> None:
        self.send({"kind": "rows", "rows": list(self._rows.values()), "engine": printable(self._engine, 60)})

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        if not isinstance(message, Mapping):
            return
        kind, path, value = message.get("kind"), message.get("path"), message.get("value")
        if kind == "hello":
            self._send_all()
        elif kind == "close":
            self._close(None)
        elif kind == "reset" and isinstance(path, str) and path in self._mine:
            self._reset(path)
        elif kind == "set" and isinstance(path, str) and path in self._can_set and isinstance(value, bool | str):
            self._enter((path, value[:LONGEST] if isinstance(value, str) else value))


def _sent(row: Row) -> dict[str, Any]:
    """A row as the page gets it; a value that is edited there is not shortened."""
    words = {name: getattr(row, name) for name in WORDS}
    found: dict[str, Any] = {name: printable(text, LONGEST, keep="\n\t") for name, text in words.items() if text}
    found |= {name: True for name in FLAGS if getattr(row, name)}
    if row.options:
        found["options"] = list(row.options)
    if row.choices:
        found["choices"] = [[one.value, one.title, one.why_not] for one in row.choices]
    return found
