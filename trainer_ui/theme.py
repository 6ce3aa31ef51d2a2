"""The themes: CSS files of tokens, and one that says how Easel looks in terms of them."""

from __future__ import annotations

from pathlib import Path

from trainer_core import places
from trainer_ui.widgets import HTML


def folder() -> Path:
    """The folder of the theme files."""
    beside = places.CHECKOUT / "themes"
    return beside if places.in_checkout() or beside.is_dir() else Path(places.__file__).parent / "_resources" / "themes"


def names() -> list[str]:
    """The themes that are there, "auto" first."""
    found = {file.stem for file in folder().glob("*.css")} - {"base"}
    return sorted(found, key=lambda name: (name != "auto", name))


def style() -> HTML:
    """A widget without a face that brings the style sheets.

    It lies in every app: Colab shows each cell's output in a page of its own.
    """
    sheets = [(folder() / f"{name}.css").read_text(encoding="utf-8") for name in (*names(), "base")]
    return HTML("<style>" + "\n".join(sheets) + "</style>", classes=("easel-style",))


def put_on(root: object, chosen: str) -> None:
    """Gives the root widget the class of one theme."""
    for name in names():
        (root.add_class if name == chosen else root.remove_class)(f"easel-theme-{name}")  # type: ignore[attr-defined]
