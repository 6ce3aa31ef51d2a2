"""Text in a widget that is shown as text, wherever it comes from."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from trainer_core.text import printable
from trainer_ui.widgets import HTML

if TYPE_CHECKING:
    from collections.abc import Iterable

TONES = ("ok", "warn", "danger", "muted")
AWAY = "easel-away"
"""The class of what is taken out of the page."""


class Words(HTML):
    """A paragraph of plain text. `classes` name its look ("title", "muted", "small", ...).

    An HTML widget with everything escaped, and not a Label: Label hands its text to the page's LaTeX typesetter, so that a
    file name with two dollar signs would become a formula, and a formula can carry a link.
    """

    def __init__(self, text: str = "", *classes: str, role: str = "", **traits: Any) -> None:
        self._role = role
        looks = [f"easel-{name}" for name in classes]
        super().__init__(self._markup(text), classes=looks if text or role else [*looks, AWAY], **traits)

    def say(self, text: str, tone: str | None = None) -> None:
        """Shows `text`, in the colour of `tone` ("" for none, None as before). Empty text takes no room."""
        if tone is not None:
            for name in TONES:
                (self.add_class if name == tone else self.remove_class)(f"easel-{name}")
        self.value = self._markup(text)
        show(self, bool(text) or bool(self._role))

    def _markup(self, text: str) -> str:
        role = f' role="{self._role}"' if self._role else ""
        return f'<span class="easel-words"{role}>{escape(printable(text, 4000, keep=chr(10)))}</span>'


class Labelled(HTML):
    """A sentence behind one bold word of ours, such as "Blocks" or "Note"."""

    def __init__(self, label: str, text: str) -> None:
        super().__init__()
        self.say(label, text)

    def say(self, label: str, text: str, more: str = "") -> None:
        """Shows another sentence, and quietly what there is to add to it."""
        added = f"<small>{escape(printable(more))}</small>" if more else ""
        markup = f'<span class="easel-words"><b>{escape(label)}</b>{escape(printable(text))}{added}</span>'
        if self.value != markup:
            self.value = markup


class Pairs(HTML):
    """Lines of two parts: what is told of, and what is told. Both are shown as text."""

    def __init__(self) -> None:
        super().__init__()
        self.add_class("easel-pairs")

    def say(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Shows these lines."""
        lines = (f"<div><b>{_shown(name)}</b> <span>{_shown(text)}</span></div>" for name, text in pairs)
        markup = f'<div class="easel-words">{"".join(lines)}</div>'
        if self.value != markup:
            self.value = markup


def _shown(text: str) -> str:
    return escape(printable(text, 400))


def show(widget: Any, visible: bool) -> None:
    """Shows a widget or takes it out of the page, and with it out of the Tab order."""
    (widget.remove_class if visible else widget.add_class)(AWAY)


def hint(widget: Any, text: str) -> None:
    """Gives a widget its tooltip, under the name that this version of ipywidgets has for it."""
    setattr(widget, "tooltip" if widget.has_trait("tooltip") else "description_tooltip", text)
