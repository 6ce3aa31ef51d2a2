"""The widgets of the panels: those of ipywidgets, with one shared Layout and Style.

Each widget of ipywidgets has a Layout and a Style of its own, and each of these is sent to the page: two thirds of what the
page of an app waits for. Easel sets the look with CSS classes, so all widgets share one empty Layout, and all widgets of a
kind one empty Style. A widget that needs a Layout of its own is made with `layout=Layout(...)`.
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
    "Textarea", "ToggleButton", "VBox", "Widget",
]  # fmt: skip

NO_TOOLTIP = ""
"""The tooltip of a widget without one: ipywidgets shows its own default, None, as the text "null"."""

_shared: dict[type[Widget], Widget] = {}


def shared(kind: type[Widget]) -> Widget:
    """The shared Layout or Style of this class; a new one if the old one was closed, for example by `Widget.close_all`."""
    found = _shared.get(kind)
    if found is None or found.comm is None:
        found = _shared[kind] = kind()
    return found


class Plain(DOMWidget):
    """A widget with the shared Layout and Style, and with its CSS classes from the start."""

    def __init__(self, *content: Any, classes: Iterable[str] = (), **traits: Any) -> None:
        super().__init__(*content, _dom_classes=tuple(classes), **traits)

    def __repr__(self) -> str:
        # Jupyter also asks for this text when a cell displays a widget; that of ipywidgets lists every child.
        return f"{type(self).__name__}()"

    @default("layout")
    def _shared_layout(self) -> Widget:
        return shared(Layout)

    @default("tooltip")
    def _no_tooltip(self) -> str:
        return NO_TOOLTIP

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
    """A button that is on or off."""


class Label(Plain, ipywidgets.Label):
    """A short text from Easel, never from outside."""


class Text(Plain, ipywidgets.Text):
    """A field for a line of text."""


class Textarea(Plain, ipywidgets.Textarea):
    """A field for several lines of text."""


class IntText(Plain, ipywidgets.IntText):
    """A field for a whole number."""


class Password(Plain, ipywidgets.Password):
    """A field for a password or token."""


class Checkbox(Plain, ipywidgets.Checkbox):
    """A checkbox."""


class Dropdown(Plain, ipywidgets.Dropdown):
    """A choice of one option."""


class FloatProgress(Plain, ipywidgets.FloatProgress):
    """A progress bar."""
