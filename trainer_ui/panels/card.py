"""The building blocks of panels: a card, a group that can be folded, a step that folds to a line, and help for a control."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from trainer_core.text import printable
from trainer_ui.formatting import Paragraph
from trainer_ui.widgets import HTML, Box, Button, ToggleButton, VBox, Widget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainer_ui.views import Views

FOLDED = "easel-folded"
"""The CSS class of content that is folded away."""
MARKS = {"open": "", "done": "✓", "needed": "i", "warn": "!", "bad": "!"}
"""The states of a step, and the sign of each; an open step shows its number."""
SAID = {"open": "", "done": "", "needed": "needs a setting", "warn": "has a warning", "bad": "has a problem"}
"""What a screen reader says of each state."""


def card(heading: str, *children: Widget) -> VBox:
    """A framed panel under a heading."""
    return VBox([Paragraph(heading, "heading"), *children], classes=("easel-card",))


class Fold(VBox):
    """A group that a button opens; its content is made when it is first opened, so that closed groups cost no time at the start.

    Not an Accordion: its headers cannot be reached with the keyboard.
    """

    def __init__(self, views: Views, title: str, content: Callable[[], Sequence[Widget]], *classes: str) -> None:
        self._content = content
        self._inside = VBox(classes=(FOLDED, *classes))
        button = ToggleButton(description=title, classes=("easel-fold",))
        button.observe(views.handler(self._turn), "value")
        super().__init__([button, self._inside], classes=("easel-group",))

    def unfold(self) -> None:
        """Opens the group, also while the views are shown, when what a button changes is ignored."""
        self.children[0].value = True
        self._turn(True)

    def _turn(self, is_open: bool) -> None:
        if is_open and not self._inside.children:
            self._inside.children = tuple(self._content())
        (self._inside.remove_class if is_open else self._inside.add_class)(FOLDED)


def fold(views: Views, title: str, content: Callable[[], Sequence[Widget]], *classes: str) -> Fold:
    """A group that a button opens, with these classes on its content."""
    return Fold(views, title, content, *classes)


class Step:
    """A card that folds to one line: a sign, its name and a summary. The whole line is the button.

    An open question shows `question` in place of the name. The content is made when the step is first opened.
    """

    def __init__(
        self,
        views: Views,
        name: str,
        content: Callable[[], Sequence[Widget]],
        *,
        question: str = "",
        number: str = "",
        is_open: bool = False,
    ) -> None:
        self.name, self.question, self.number = name, question, number
        self._content = content
        self.head = HTML(classes=("easel-step-head",))
        self.button = Button(classes=("easel-step-button",))
        self.button.on_click(views.handler(lambda _: self.fold(not self.is_folded)))
        self.inside = VBox(classes=("easel-step-inside",))
        line = Box([self.head, self.button], classes=("easel-step-line",))
        self.widget = VBox([line, self.inside], classes=("easel-card", "easel-step", FOLDED))
        self.is_folded = True
        """Whether only the line is shown."""
        self.show("open", "")
        self.fold(not is_open)

    def fold(self, is_folded: bool) -> None:
        """Shows only the line, or the content too."""
        self.is_folded = is_folded
        if not is_folded and not self.inside.children:
            self.inside.children = tuple(self._content())
        (self.widget.add_class if is_folded else self.widget.remove_class)(FOLDED)

    def show(self, state: str, summary: str) -> None:
        """Shows the state (a key of MARKS) and the summary."""
        text = printable(summary, 300)
        title = self.question if state == "open" and self.question else self.name
        sign = f'<span class="easel-mark easel-mark-{state}">{MARKS[state] or self.number or "·"}</span>'
        markup = f'<div class="easel-step-text" aria-hidden="true">{sign}<b>{escape(title)}</b><span>{escape(text)}</span></div>'
        if self.head.value != markup:
            self.head.value = markup
        told = ", ".join(filter(None, (title, SAID[state], text)))
        if self.button.description != told:
            self.button.description = told


def row(*children: Widget) -> Box:
    """Widgets in a row, which wraps."""
    return Box(children, classes=("easel-row",))


def empty(title: str, text: str, button: Widget) -> VBox:
    """What an empty place shows: what is missing, and the one button that helps."""
    return VBox([Paragraph(title, "heading"), Paragraph(text, "muted"), button], classes=("easel-nothing",))
