"""The themes: CSS files that set tokens (colours, font), the style sheets that use the tokens, and the remembered theme."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.files import set_aside, write_whole
from trainer_core.jobs.folder import json_object, json_text
from trainer_ui.widgets import HTML

if TYPE_CHECKING:
    from pathlib import Path

AUTO = "auto"
"""The theme that follows JupyterLab, Colab, VS Code or the system."""
PARTS = "parts"
"""The folder of the style sheets that all themes share."""


def folder() -> Path:
    """The folder of the theme files."""
    return places.resource("themes")


def names() -> list[str]:
    """The names of the themes, "auto" first."""
    return sorted((file.stem for file in folder().glob("*.css")), key=lambda name: (name != AUTO, name))


def sheets() -> list[Path]:
    """The style sheets in their order: the tokens of each theme, then what uses the tokens."""
    return [*(folder() / f"{name}.css" for name in names()), *sorted((folder() / PARTS).glob("*.css"))]


def style() -> HTML:
    """An invisible widget that contains the style sheets.

    Every app has one: Colab shows the output of each cell in a page of its own.
    """
    text = "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets())
    return HTML(f"<style>{text}</style>", classes=("easel-style",))


def put_on(root: object, chosen: str) -> None:
    """Sets the CSS class of one theme on the root widget."""
    for name in names():
        (root.add_class if name == chosen else root.remove_class)(f"easel-theme-{name}")  # type: ignore[attr-defined]


def remembered() -> str:
    """The theme that was chosen last on this machine; "auto" if there is none."""
    try:
        name = (json_object(_memory().read_bytes()) or {}).get("theme")
    except OSError:
        return AUTO
    return name if name in names() else AUTO


def remember(chosen: str) -> None:
    """Keeps the chosen theme for the next time, if Easel's home can be written."""
    with contextlib.suppress(OSError):
        if _memory().is_file() and json_object(_memory().read_bytes()) is None:
            set_aside(_memory())
        write_whole(_memory(), json_text({"theme": chosen}))


def _memory() -> Path:
    return places.home() / "theme.json"
