"""The building blocks of panels: a card with a heading, and a group that can be folded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.formatting import Paragraph
from trainer_ui.widgets import ToggleButton, VBox, Widget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainer_ui.views import Views


def card(heading: str, *children: Widget) -> VBox:
    """A framed panel under a heading."""
    return VBox([Paragraph(heading, "heading"), *children], classes=("easel-card",))


def fold(views: Views, title: str, content: Callable[[], Sequence[Widget]], *classes: str) -> VBox:
    """A group that a button opens; its content is made when it is first opened, so that closed groups cost no time at the start.

    Not an Accordion: its headers cannot be reached with the keyboard.
    """
    button = ToggleButton(description=title, classes=("easel-fold",))
    inside = VBox(classes=("easel-folded", *classes))

    def turn(is_open: bool) -> None:
        if is_open and not inside.children:
            inside.children = tuple(content())
        (inside.remove_class if is_open else inside.add_class)("easel-folded")

    button.observe(views.handler(turn), "value")
    return VBox([button, inside], classes=("easel-group",))
