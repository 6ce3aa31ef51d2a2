"""The controls of the fields of a tool: each kind of field has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainer_core.errors import WeightsError
from trainer_ui import browsing
from trainer_ui.browse import Browse
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.tools.known import Known
from trainer_ui.tool_fields import Blocks, Choice, Field, File, Files, Number, Switch, Words
from trainer_ui.widgets import Box, Button, Checkbox, Dropdown, Plain, Text, VBox, Widget

if TYPE_CHECKING:
    from trainer_ui.tool_session import ToolSession


LONG = 30
"""A field with a longer placeholder takes the whole width."""


def _explained(control: Widget, field: Field) -> Box:
    """A control with its help, if there is any."""
    return helped(control, field.help, field.more) if field.help else Box([control], classes=("easel-setting",))


class Control:
    """The control of a field: `widget` on the page, `show` fills it with the value of the desk."""

    widget: Plain
    is_wide = False
    """Whether it takes the whole width of its card."""

    def __init__(self, session: ToolSession, utility: str, field: Field) -> None:
        self.session, self.utility, self.field = session, utility, field
        self._shown: object = None

    @property
    def value(self) -> Any:
        """The value of the field now."""
        return self.session.desks[self.utility].values[self.field.name]

    @property
    def is_news(self) -> bool:
        """Whether the value has changed since this was last asked.

        Only then is it written into the widget: a thread may show the views between what the page has sent and its handler,
        and would put the old value back.
        """
        before, self._shown = self._shown, self.value
        return self._shown != before

    def change(self, value: Any) -> None:
        """Takes a value from the user."""
        self.session.change(self.utility, self.field.name, value)

    def show(self) -> None:
        """Fills the control."""
        show(self.widget, self.field.when(self.session.desks[self.utility].values))


class _Line(Control):
    """A line of text; what is typed is taken with Enter, or when the field is left."""

    def __init__(self, session: ToolSession, utility: str, field: Field, placeholder: str = "") -> None:
        super().__init__(session, utility, field)
        placeholder = placeholder or (field.placeholder if isinstance(field, Words) else "")
        self.is_wide = self.is_wide or len(placeholder) > LONG
        self.text = Text(description=field.title, placeholder=placeholder, continuous_update=False)
        self.text.observe(session.handler(self._typed), "value")
        self.widget = _explained(self.text, field)
        self.now: Paragraph | None = None
        if isinstance(field, Words) and field.now is not None:
            # Not the placeholder: a change of the text field would take away what the user is just typing.
            self.now = Paragraph("", "small", "muted", "lines")
            self.widget = VBox([self.widget, self.now])

    def show(self) -> None:
        """Shows the text."""
        super().show()
        wanted = self.written(self.value)
        if self.is_news and self.text.value != wanted:
            self.text.value = wanted
        if self.now is not None and isinstance(self.field, Words) and self.field.now is not None:
            now = self.field.now(self.session.desks[self.utility].read)
            self.now.show_text(f"Now: {now}" if now else "")

    def written(self, value: Any) -> str:
        """The value as text."""
        return str(value)

    def _typed(self, text: str) -> None:
        self.change(text.strip())


class _Figure(_Line):
    """A line for a number: anything else, or one out of bounds, is said below and not taken."""

    field: Number

    def __init__(self, session: ToolSession, utility: str, field: Number) -> None:
        super().__init__(session, utility, field)
        self.said = Paragraph("", "small", "danger", role="status")
        self.widget = VBox([self.widget, self.said])

    def written(self, value: Any) -> str:
        """The number without zeros that say nothing."""
        return f"{value:g}" if isinstance(value, (int, float)) else str(value)

    def _typed(self, text: str) -> None:
        field = self.field
        try:
            number = float(text.strip().replace(",", "."))
        except ValueError:
            self.said.show_text(f"“{text.strip()[:40]}” is not a number, so {self.written(self.value)} is still used.")
            return
        if field.whole and number != int(number):
            self.said.show_text(f"This must be a whole number, so {self.written(self.value)} is still used.")
        elif (field.low is not None and number < field.low) or (field.high is not None and number > field.high):
            bounds = (
                f"from {field.low:g} to {field.high:g}"
                if field.low is not None and field.high is not None
                else f"at least {field.low:g}"
                if field.low is not None
                else f"at most {field.high:g}"
            )
            self.said.show_text(f"Choose a number {bounds}; {self.written(self.value)} is still used.")
        else:
            self.said.show_text("")
            self.change(int(number) if field.whole else number)


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
        session.desks[utility].values[field.name] = tuple(self.empty() for _ in range(field.least))
        self._fit()

    def empty(self) -> dict[str, Any]:
        """A row without a file."""
        return {"path": "", **{name: default for name, _, default in self.field.numbers}}

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

    def put(self, place: int, name: str, value: Any) -> None:
        """Changes one value of a row."""
        rows = list(self.value)
        if place < len(rows):
            rows[place] = {**rows[place], name: value}
            self.change(tuple(rows))

    def remove(self, place: int) -> None:
        """Takes a row out."""
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
        try:
            self.rows.put(self.place, name, float(text.strip().replace(",", ".")))
        except ValueError:
            self.said.show_text(f"“{text.strip()[:40]}” is not a number.", "danger")

    def show(self) -> None:
        """Shows the row."""
        row = self._row
        self.known.show(row["path"])
        if row != self._shown:
            self._shown = row
            self.path.value = row["path"]
            for name, control in self.numbers.items():
                control.value = f"{row[name]:g}"
        words, tone = self.rows.session.described.get(row["path"], ("", ""))
        self.said.show_text(words, tone or "muted")
        show(self.remove, len(self.rows.value) > self.rows.field.least)


class _Blocks(Control):
    """The blocks are listed when the user asks for them, because they depend on the file."""

    field: Blocks
    is_wide = True

    def __init__(self, session: ToolSession, utility: str, field: Blocks) -> None:
        super().__init__(session, utility, field)
        self.button = Button(description="Show its blocks", classes=("easel-small",))
        self.button.on_click(session.handler(lambda _: self._list()))
        self.said = Paragraph("", "small", role="status")
        self.grid = Box([], classes=("easel-tool-blocks",))
        self.fields: dict[str, Text] = {}
        self.file = ""
        """The file whose blocks are listed."""
        self.widget = VBox([Box([self.button, self.said], classes=("easel-row",)), self.grid])

    def _list(self) -> None:
        from trainer_core.tools import lora_files
        from trainer_core.weights.lora import blocks

        path = self.session.desks[self.utility].values[self.field.of]
        if not path:
            raise WeightsError("Choose a LoRA first.", "")
        (network,) = lora_files.listed([path], "")
        counted: dict[str, int] = {}
        for module in network.modules:
            block = blocks.block_of(module.key, network.family)
            counted[block] = counted.get(block, 0) + 1
        self.fields = {}
        for block in blocks.in_order(counted, network.family):
            layers = counted[block]
            text = Text(
                description=f"{block} ({layers} {'layer' if layers == 1 else 'layers'})",
                value="1",
                continuous_update=False,
            )
            text.observe(self.session.handler(lambda typed, block=block: self._typed(block, typed)), "value")
            self.fields[block] = text
        self.grid.children = tuple(self.fields.values())
        self.file = path
        self.change({})
        self.said.show_text(f"{len(counted)} blocks. 1 leaves a block as it is, 0 leaves it out.", "muted")

    def _typed(self, block: str, text: str) -> None:
        try:
            number = float(text.strip().replace(",", "."))
        except ValueError:
            self.said.show_text(f"“{text.strip()[:40]}” is not a number.", "danger")
            return
        self.change({**self.value, block: number})

    def show(self) -> None:
        """Hides the blocks of a file that is not chosen any more."""
        super().show()
        values: dict[str, Any] = self.session.desks[self.utility].values
        is_of_file = bool(self.file) and values[self.field.of] == self.file
        show(self.grid, is_of_file)
        if self.file and not is_of_file and self.value:
            values[self.field.name] = {}


KINDS: Mapping[type[Field], Callable[..., Control]] = {
    Words: _Line,
    Number: _Figure,
    Choice: _Chosen,
    Switch: _Box,
    File: _Path,
    Files: _Rows,
    Blocks: _Blocks,
}
"""The control of each kind of field."""


def control(session: ToolSession, utility: str, field: Field) -> Control:
    """The control of a field in the place of a tool."""
    return KINDS[type(field)](session, utility, field)
