"""The themes: CSS files that set tokens (colours, font), and base.css, which uses the tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core import places
from trainer_ui.widgets import HTML

if TYPE_CHECKING:
    from pathlib import Path


def folder() -> Path:
    """The folder of the theme files."""
    return places.resource("themes")


def names() -> list[str]:
    """The names of the themes, "auto" first."""
    found = {file.stem for file in folder().glob("*.css")} - {"base"}
    return sorted(found, key=lambda name: (name != "auto", name))


def style() -> HTML:
    """An invisible widget that contains the style sheets.

    Every app has one: Colab shows the output of each cell in a page of its own.
    """
    sheets = [(folder() / f"{name}.css").read_text(encoding="utf-8") for name in (*names(), "base")]
    return HTML("<style>" + "\n".join(sheets) + "</style>", classes=("easel-style",))


def put_on(root: object, chosen: str) -> None:
    """Sets the CSS class of one theme on the root widget."""
    for name in names():
        (root.add_class if name == chosen else root.remove_class)(f"easel-theme-{name}")  # type: ignore[attr-defined]
