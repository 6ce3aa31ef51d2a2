"""A text that can be copied, such as a trigger word or a path: a field that cannot be changed, and a button."""

from __future__ import annotations

from anywidget import AnyWidget
from traitlets import Unicode

from trainer_core.text import printable
from trainer_ui.components.places import asset


class CopyLine(AnyWidget):
    """A label, the text, and "Copy". The page copies by itself, without the kernel."""

    _esm = asset("copy_line.js")

    label = Unicode().tag(sync=True)
    text = Unicode().tag(sync=True)

    def show_text(self, text: str) -> None:
        """Shows this text."""
        self.text = printable(text, 1000)
