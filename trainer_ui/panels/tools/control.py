"""What the controls of all kinds of fields share: the value of the field, and an entry that it cannot take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_ui.formatting import show
from trainer_ui.panels.tools.figures import NotThisError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_ui.tool_fields import Field
    from trainer_ui.tool_session import ToolSession
    from trainer_ui.widgets import Plain


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

    def takes(self, take: Callable[[], object], key: str, title: str) -> bool:
        """Takes a number with `take`, or keeps why it is none: the tool does not start then. Returns whether it was one."""
        try:
            take()
        except NotThisError as error:
            self.session.refuse(self.utility, key, title, str(error))
            return False
        self.session.accept(self.utility, key)
        return True

    def refill(self) -> None:
        """Lets `show` write the value into the widget again."""
        self._shown = None

    def show(self) -> None:
        """Fills the control."""
        show(self.widget, self.field.when(self.session.desks[self.utility].values))
