"""What panels are made of: a card with a heading, and a group that folds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.widgets import ToggleButton, VBox, Widget
from trainer_ui.words import Words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainer_ui.session import Session


def card(heading: str, *children: Widget) -> VBox:
    """A framed panel under a heading."""
    return VBox([Words(heading, "heading"), *children], classes=("easel-card",))


def fold(session: Session, title: str, content: Callable[[], Sequence[Widget]], *classes: str) -> VBox:
    """A group behind a button; its content is made when it is first opened, so that closed ones cost no time at the start.

    Not an Accordion: the keyboard does not reach its headers.
    """
    button = ToggleButton(description=title, classes=("easel-fold",))
    inside = VBox(classes=("easel-folded", *classes))

    def turn(is_open: bool) -> None:
        if is_open and not inside.children:
            inside.children = tuple(content())
        (inside.remove_class if is_open else inside.add_class)("easel-folded")

    button.observe(session.handler(turn), "value")
    return VBox([button, inside], classes=("easel-group",))


def replace_children(box: VBox, children: Sequence[Widget]) -> None:
    """Puts other widgets into a box and frees those that are not in it any more: the page would keep them for as long as it lives."""
    old, box.children = box.children, tuple(children)
    _close([one for one in old if one not in box.children])


def _close(widgets: Sequence[Widget]) -> None:
    for widget in widgets:
        _close(getattr(widget, "children", ()))
        widget.close()
