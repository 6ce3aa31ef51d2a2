"""Texts before and after an edit, with what is new and what is gone marked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from html import escape

from trainer_core.text import printable
from trainer_ui.widgets import HTML

LONGEST = 1500
_PARTS = re.compile(r"\s+|,|[^\s,]+")


class Differences(HTML):
    """Lines of a name and a text with marked changes."""

    def __init__(self) -> None:
        super().__init__(classes=("easel-differences",))

    def show_changes(self, changes: Iterable[tuple[str, str, str]]) -> None:
        """Shows changes, each as (name, text before, text after)."""
        rows = "".join(
            f"<div><b>{escape(printable(name, 200))}</b><p>{marked(before, after)}</p></div>"
            for name, before, after in changes
        )
        markup = f'<div class="easel-text">{rows}</div>' if rows else ""
        if self.value != markup:
            self.value = markup


def marked(before: str, after: str) -> str:
    """The text after a change as markup; what was removed and what was added is in <del> and <ins>."""
    old, new = (_PARTS.findall(printable(text.strip(), LONGEST)) for text in (before, after))
    parts = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, come = escape("".join(old[a:b])), escape("".join(new[c:d]))
        if kind == "equal":
            parts.append(gone)
            continue
        parts += [f"<del>{gone}</del>"] if gone.strip() else []
        parts += [f"<ins>{come}</ins>"] if come.strip() else [come]
    return "".join(parts)
