"""The help of a control: a line below it, and a panel that a "?" opens."""

from __future__ import annotations

import re
from html import escape

from trainer_core.text import printable
from trainer_ui.widgets import HTML, Box, Widget

ENDS = re.compile(r"[.:;] |, which |, so that ")
"""Where the line of help ends: at the end of the first clause. The whole text is behind "?"."""


def helped(control: Widget, text: str, more: str = "", *classes: str) -> Box:
    """A control with its help: a line below it, and behind "?" the whole text."""
    return Box([control, explanation(text, more)], classes=("easel-setting", *classes))


def explanation(text: str, more: str = "") -> HTML:
    """The help of a control: its first clause as a line, and the whole of it, with `more`, in a panel that "?" opens.

    The panel is an element of HTML itself, so that it opens by keyboard and without the kernel. Its text never changes.
    """
    first = first_clause(text)
    whole = "".join(f"<p>{escape(printable(part, 2000))}</p>" for part in (text, more) if part)
    return HTML(
        f'<details class="easel-help"><summary aria-label="Help">?</summary><div class="easel-pop">{whole}</div></details>'
        f'<div class="easel-line">{escape(printable(first, 600))}</div>',
        classes=("easel-explained",),
    )


def first_clause(text: str) -> str:
    """The line of help: the first clause of a text."""
    return ENDS.split(text)[0].rstrip(".") + "." if text else ""
