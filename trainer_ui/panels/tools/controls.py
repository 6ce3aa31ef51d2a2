"""The controls of the fields of a tool: each kind of field has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainer_ui import browsing
from trainer_ui.browse import Browse
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.tools.block_weights import BlockWeights
from trainer_ui.panels.tools.control import Control
from trainer_ui.panels.tools.figures import figure
from trainer_ui.panels.tools.known import Known
from trainer_ui.tool_fields import Blocks, Choice, Field, File, Files, Number, Switch, Words
from trainer_ui.widgets import Box, Button, Checkbox, Dropdown, Text, VBox, Widget

if TYPE_CHECKING:
    from trainer_ui.tool_session import ToolSession


LONG = 30
"""A field with a longer placeholder takes the whole width."""


def _explained(control: Widget, field: Field) -> Box:
    """A control with its help, if there is any."""
    return helped(control, field.help, field.more) if field.help else Box([control], classes=("easel-setting",))


class _Line(Control):
    """A line of text; what is typed is taken with Enter, or when the field is left."""

    def __init__(self, session: ToolSession, utility: str, field: Field, placeholder: str = "") -> None:
        super().__init__(session, utility, field)
        placeholder = placeholder or (field.placeholder if isinstance(field, Words) else "")
        self.is_wide = self.is_wide or len(placeholder) > LONG
        self.text = Text(description=field.title, placeholder=placeholder, continuous_update=False)
        self.text.observe(session.handler(self._typed), "value")
        self.widget = _explained(self.text, field)

    def show(self) -> None:
        """Shows the text."""
        super().show()
        wanted = self.written(self.value)
        if self.is_news and self.text.value != wanted:
            self.text.value = wanted

    def written(self, value: Any) -> str:
        """The value as text."""
        return str(value)

    def _typed(self, text: str) -> None:
        self.change(text.strip())


class _Figure(_Line):
    """A line for a number: anything else, or one out of bounds, is said below, and the tool does not start with it."""

    field: Number

    def __init__(self, session: ToolSession, utility: str, field: Number) -> None:
        super().__init__(session, utility, field)
        self.said = Paragraph("", "small", "danger", role="status")
        self.widget = VBox([self.widget, self.said])

    def written(self, value: Any) -> str:
        """The number without zeros that say nothing."""
        return f"{value:g}" if isinstance(value, (int, float)) else str(value)

    def refill(self) -> None:
        """Forgets a wrong entry."""
        super().refill()
        self.said.show_text("")
        self.text.value = self.written(self.value)

    def _typed(self, text: str) -> None:
        if self.takes(lambda: self.change(figure(text, self.field)), self.field.name, self.field.title):
            self.said.show_text("")
        else:
            self.said.show_text(self.session.desks[self.utility].wrong[self.field.name][1])


class _Chosen(Control):
    field: Choice

    def __init__(self, session: ToolSession, utility: str, field: Choice) -> None:
        super().__init__(session, utility, field)
        self.list: Any = Dropdown(description=field.title, options=field.options, value=field.default)
        self.list.observe(session.handler(self.change), "value")
        self.told = Paragraph("", "small", "muted")
        self.is_wide = field.told is not None
        self.widget = VBox([_explained(self.list, field), self.told])

    def show(self) -> None:
        """Shows what is chosen, and what it does."""
        super().show()
        if self.is_news and self.list.value != self.value:
            self.list.value = self.value
        self.told.show_text((self.field.told or {}).get(self.value, ""))


class _Box(Control):
    def __init__(self, session: ToolSession, utility: str, field: Switch) -> None:
        super().__init__(session, utility, field)
        self.box = Checkbox(description=field.title, indent=False, value=bool(field.default))
        self.box.observe(session.handler(self.change), "value")
        self.widget = _explained(self.box, field)

    def show(self) -> None:
        """Shows whether it is ticked."""
        super().show()
        if self.is_news and self.box.value != self.value:
            self.box.value = self.value


class _Path(_Line):
    field: File
    is_wide = True

    def __init__(self, session: ToolSession, utility: str, field: File) -> None:
        name = "model.safetensors" if field.is_input else f"image{field.extensions[0]}"
        placeholder = f"/path/to/{name if field.wants != 'folder' else 'folder'}"
        super().__init__(session, utility, field, placeholder)
        self.browse = Browse(
            session, field.title, self.change, lambda: self.value, wants=field.wants, extensions=field.extensions
        )
        self.said = Paragraph("", "small", "muted")
        self.known = Known(session, field.title, field.roles, self.change)
        self.widget = VBox(
            [self.known.widget, self.widget, self.browse.widget, self.said], classes=("easel-tool-file",)
        )

    def show(self) -> None:
        """Shows the path, and what the file is."""
        super().show()
        self.known.show(self.value)
        words, tone = self.session.described.get(self.value, ("", ""))
        self.said.show_text(words if self.field.is_input else "", tone or "muted")


class _Rows(Control):
    """Rows of a path and numbers. Rows are made by the user's clicks, never by a thread."""

    field: Files
    is_wide = True

    def __init__(self, session: ToolSession, utility: str, field: Files) -> None:
        super().__init__(session, utility, field)
        self.rows: list[_Row] = []
        self.list = VBox([])
        self.add = Button(description="Add another", classes=("easel-small",))
        self.add.on_click(session.handler(lambda _: self.change((*self.value, self.empty()))))
        self.widget = VBox([self.list, self.add], classes=("easel-tool-rows",))
        session.desks[utility].values[field.name] = field.empty()
        self._fit()

    def empty(self) -> dict[str, Any]:
        """A row without a file."""
        return self.field.empty()[0]

    def show(self) -> None:
        """Shows the rows."""
        super().show()
        self._fit()
        for row in self.rows:
            row.show()

    def _fit(self) -> None:
        wanted = len(self.value)
        if wanted == len(self.rows) or (self.session.unasked and wanted > len(self.rows)):
            return
        del self.rows[wanted:]
        while len(self.rows) < wanted:
            self.rows.append(_Row(self, len(self.rows)))
        self.list.children = tuple(row.widget for row in self.rows)

    def refill(self) -> None:
        """Fills the rows again."""
        super().refill()
        for row in self.rows:
            row.forget()

    def put(self, place: int, name: str, value: Any) -> None:
        """Changes one value of a row."""
        rows = list(self.value)
        if place < len(rows):
            rows[place] = {**rows[place], name: value}
            self.change(tuple(rows))

    def remove(self, place: int) -> None:
        """Takes a row out."""
        for row in self.rows:
            # The numbers of the rows below move up.
            row.forget()
        self.change(tuple(row for number, row in enumerate(self.value) if number != place))


class _Row:
    def __init__(self, rows: _Rows, place: int) -> None:
        self.rows, self.place = rows, place
        self._shown: object = None
        session, field = rows.session, rows.field
        title = f"{field.title} {place + 1}"
        self.path = Text(description=title, placeholder="/path/to/file.safetensors", continuous_update=False)
        self.path.observe(session.handler(lambda text: rows.put(place, "path", text.strip())), "value")
        self.browse = Browse(
            session,
            title,
            lambda path: rows.put(place, "path", path),
            lambda: self._row["path"],
            extensions=browsing.MODELS,
        )
        self.said = Paragraph("", "small", "muted")
        self.numbers = {name: Text(description=words, continuous_update=False) for name, words, _ in field.numbers}
        for name, control in self.numbers.items():
            control.observe(session.handler(lambda text, name=name: self._number(name, text)), "value")
        self.remove = Button(description="Remove", classes=("easel-small", "easel-quiet"))
        self.remove.on_click(session.handler(lambda _: rows.remove(place)))
        self.known = Known(session, title, field.roles, lambda path: rows.put(place, "path", path))
        line = Box([self.path], classes=("easel-setting",))
        tail = Box([*self.numbers.values(), self.remove], classes=("easel-tool-row",))
        self.widget = VBox([self.known.widget, line, self.browse.widget, self.said, tail], classes=("easel-tool-file",))

    @property
    def _row(self) -> Mapping[str, Any]:
        rows: Sequence[Mapping[str, Any]] = self.rows.value
        return rows[self.place] if self.place < len(rows) else self.rows.empty()

    def _number(self, name: str, text: str) -> None:
        title = f"{self.numbers[name].description} of {self.path.description}"
        self.rows.takes(lambda: self.rows.put(self.place, name, figure(text)), self._key(name), title)

    def _key(self, name: str) -> str:
        return f"{self.rows.field.name}/{self.place}/{name}"

    def forget(self) -> None:
        """Forgets wrong entries, and lets `show` fill the row again."""
        self._shown = None
        for name in self.numbers:
            self.rows.session.accept(self.rows.utility, self._key(name))

    def show(self) -> None:
        """Shows the row."""
        row = self._row
        self.known.show(row["path"])
        if row != self._shown:
            self._shown = row
            self.path.value = row["path"]
            for name, control in self.numbers.items():
                if self._key(name) not in self.rows.session.desks[self.rows.utility].wrong:
                    control.value = f"{row[name]:g}"
        words, tone = self.rows.session.described.get(row["path"], ("", ""))
        wrong = self.rows.session.desks[self.rows.utility].wrong
        refused = [wrong[self._key(name)][1] for name in self.numbers if self._key(name) in wrong]
        words, tone = (" ".join(refused), "danger") if refused else (words, tone)
        self.said.show_text(words, tone or "muted")
        show(self.remove, len(self.rows.value) > self.rows.field.least)


KINDS: Mapping[type[Field], Callable[..., Control]] = {
    Words: _Line,
    Number: _Figure,
    Choice: _Chosen,
    Switch: _Box,
    File: _Path,
    Files: _Rows,
    Blocks: BlockWeights,
}
"""The control of each kind of field."""


def control(session: ToolSession, utility: str, field: Field) -> Control:
    """The control of a field in the place of a tool."""
    return KINDS[type(field)](session, utility, field)
