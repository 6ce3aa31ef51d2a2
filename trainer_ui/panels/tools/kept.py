"""The entries of a tool come back when its notebook is opened again: they are kept in a file, and one line says so."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from trainer_core.prepare import kept_values
from trainer_ui.boundary import attempt
from trainer_ui.formatting import Paragraph, show
from trainer_ui.keeper import Keeper, when
from trainer_ui.tool_fields import Blocks, Choice, Field, Files, Number, Switch
from trainer_ui.widgets import Box, Button

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer_ui.panels.tools.form import Form
    from trainer_ui.tool_session import ToolSession, Utility

LONGEST_TEXT, MOST_ROWS = 10_000, 64
FRESH, BACK = "Start afresh", "Bring them back"


class KeptEntries:
    """The entries of all tools of a notebook in their file."""

    def __init__(self, session: ToolSession, app: str, forms: Mapping[str, Form]) -> None:
        self.session = session
        self.lines = {name: KeptLine(session, session.utilities[name], form) for name, form in forms.items()}
        self._path = kept_values.kept_in(app)
        self._keeper = Keeper(self._path, session.show_soon, kept_values.keep)
        self._last: object = None

    def restore(self) -> None:
        """Brings the entries back that can still be used."""
        found: list[kept_values.Kept | None] = [None]
        attempt(lambda: found.__setitem__(0, kept_values.read(self._path)), self.session.note)
        kept = found[0]
        for name, line in self.lines.items():
            values = line.usable(kept.table.get(name, {})) if kept is not None else {}
            if kept is not None and values:
                line.bring(values, f"Your entries of {when(kept.saved)} are here again.")
        self._last = self._table()

    def show(self) -> None:
        """Keeps the entries if they have changed."""
        table = self._table()
        if self._last is not None and table != self._last:
            self._last = table
            self._keeper.keep(table)

    def close(self) -> None:
        """Writes what was not written yet."""
        self._keeper.close()

    def _table(self) -> dict[str, dict[str, Any]]:
        return {name: line.entered() for name, line in self.lines.items()}


class KeptLine:
    """Says in the place of a tool that its entries are here again, and empties the form if the user wants that."""

    def __init__(self, session: ToolSession, utility: Utility, form: Form) -> None:
        self.session, self.utility, self.form = session, utility, form
        self.fields = {each.name: each for card in utility.cards for each in card.fields}
        self.says = Paragraph("", "grow", role="status")
        self.button = Button(description=FRESH, classes=("easel-small",))
        self.button.on_click(session.handler(lambda _: self._turn()))
        self.widget = Box([self.says, self.button], classes=("easel-message", "easel-kept"))
        self._put_away: dict[str, Any] = {}
        show(self.widget, False)

    def show(self) -> None:
        """Nothing: the line changes when the user acts."""

    def entered(self) -> dict[str, Any]:
        """What the user has entered: the values that are not those of an empty form."""
        values, empty = self.session.desks[self.utility.id].values, self._empty()
        return {
            name: values[name]
            for name, each in self.fields.items()
            if not isinstance(each, Blocks) and values[name] != empty[name]
        }

    def usable(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The kept values that their fields still accept."""
        found = {name: _accepted(each, values[name]) for name, each in self.fields.items() if name in values}
        return {name: value for name, value in found.items() if value is not None}

    def bring(self, values: Mapping[str, Any], sentence: str, action: str = FRESH) -> None:
        """Puts values into the form, the others being empty, and says so."""
        self.session.replace(self.utility.id, {**self._empty(), **values})
        self.form.refill()
        self.says.show_text(sentence)
        self.button.description = action
        show(self.widget, True)

    def _turn(self) -> None:
        if self.button.description == FRESH:
            self._put_away = self.entered()
            self.bring({}, "The form is empty again.", BACK)
        else:
            self.bring(self._put_away, "Your entries are here again.")

    def _empty(self) -> dict[str, Any]:
        return {name: each.empty() if isinstance(each, Files) else each.default for name, each in self.fields.items()}


def _accepted(field: Field, value: Any) -> Any:
    """A kept value as its field has it; None if the field does not accept it."""
    if isinstance(field, Files):
        return _rows(field, value)
    if isinstance(field, Number):
        return value if _is_number(value) and _fits(field, value) else None
    if isinstance(field, Switch):
        return value if isinstance(value, bool) else None
    if isinstance(value, str) and isinstance(field, Choice):
        return value if value in {one for _, one in field.options} else None
    return value if isinstance(value, str) and len(value) <= LONGEST_TEXT and not isinstance(field, Blocks) else None


def _fits(field: Number, value: float) -> bool:
    is_in = (field.low is None or value >= field.low) and (field.high is None or value <= field.high)
    return is_in and (not field.whole or isinstance(value, int))


def _rows(field: Files, value: Any) -> tuple[dict[str, Any], ...] | None:
    if not isinstance(value, list) or not field.least <= len(value) <= MOST_ROWS:
        return None
    rows = []
    for row in value:
        if not isinstance(row, dict) or not isinstance(row.get("path"), str) or len(row["path"]) > LONGEST_TEXT:
            return None
        numbers = {name: row.get(name) for name, _, _ in field.numbers}
        if not all(map(_is_number, numbers.values())):
            return None
        rows.append({"path": row["path"], **numbers})
    return tuple(rows)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
