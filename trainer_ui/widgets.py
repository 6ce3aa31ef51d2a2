"""The widgets that panels are made of: those of ipywidgets, sharing what none of them has of its own.

Each widget of ipywidgets brings a Layout and a Style, which the page is told of one by one: two thirds of what the page of
an app waits for. Looks are CSS classes here, so one Layout and one Style of a kind, with nothing set, serve all. A widget
that needs something set of its own is made with `layout=Layout(...)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets
from ipywidgets import DOMWidget, Layout, Widget
from traitlets import default

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "HTML", "Box", "Button", "Checkbox", "Dropdown", "FloatProgress", "IntText", "Label", "Layout", "Password", "Text",
    "ToggleButton", "VBox", "Widget",
]  # fmt: skip

_shared: dict[type[Widget], Widget] = {}


def shared(kind: type[Widget]) -> Widget:
    """The one widget of this kind; another one when that has been closed, as `Widget.close_all` does."""
    found = _shared.get(kind)
    if found is None or found.comm is None:
        found = _shared[kind] = kind()
    return found


class Plain(DOMWidget):
    """A widget with the shared Layout and Style, and with its CSS classes from the beginning."""

    def __init__(self, *content: Any, classes: Iterable[str] = (), **traits: Any) -> None:
        super().__init__(*content, _dom_classes=tuple(classes), **traits)

    def __repr__(self) -> str:
        # A cell that shows a widget asks for this too, and that of ipywidgets tells of every widget inside.
        return f"{type(self).__name__}()"

    @default("layout")
    def _shared_layout(self) -> Widget:
        return shared(Layout)

    @default("style")
    def _shared_style(self) -> Widget:
        return shared(type(self).style.klass)  # type: ignore[attr-defined]


class HTML(Plain, ipywidgets.HTML):
    """Markup."""


class Box(Plain, ipywidgets.Box):
    """Widgets in a row."""


class VBox(Plain, ipywidgets.VBox):
    """Widgets in a column."""


class Button(Plain, ipywidgets.Button):
    """A button."""


class ToggleButton(Plain, ipywidgets.ToggleButton):
    """A button that stays down."""


class Label(Plain, ipywidgets.Label):
    """A short text of ours."""


class Text(Plain, ipywidgets.Text):
    """A field for a line of text."""


class IntText(Plain, ipywidgets.IntText):
    """A field for a whole number."""


class Password(Plain, ipywidgets.Password):
    """A field for a secret."""


class Checkbox(Plain, ipywidgets.Checkbox):
    """A box to tick."""


class Dropdown(Plain, ipywidgets.Dropdown):
    """A choice of one."""


class FloatProgress(Plain, ipywidgets.FloatProgress):
    """A bar that fills."""
