"""Small text files between the kernel and the browser: one that the user downloads, one that the user chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anywidget import AnyWidget
from traitlets import Int, Unicode

from trainer_ui.components.places import asset

LARGEST_BYTES = 256 * 1024


class Exchange(AnyWidget):
    """A button that takes a file from the user's computer; `save` gives one to it.

    `take` is called with the bytes and the name of the file, both from outside. `refuse` is called with a sentence.
    """

    _esm = asset("exchange.js")

    label = Unicode().tag(sync=True)
    """The text of the button."""
    endings = Unicode().tag(sync=True)
    """The endings of the files that the browser offers, such as ".toml"."""
    largest = Int(LARGEST_BYTES).tag(sync=True)
    """The size in bytes up to which the page sends a file."""

    def __init__(
        self, label: str, endings: str, take: Callable[[tuple[bytes, str]], object], refuse: Callable[[str], object]
    ) -> None:
        super().__init__(label=label, endings=endings)
        self._take, self._refuse = take, refuse
        self.on_msg(self._heard)

    def save(self, name: str, text: str) -> None:
        """Gives a file to the browser, which saves it as it saves any download."""
        self.send({"kind": "save", "name": name, "text": text})

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        if not isinstance(message, Mapping):
            return
        name, text = message.get("name"), message.get("text")
        if message.get("kind") == "large":
            self._refuse(f"The file is larger than {self.largest // 1024} kB, so it is not a profile.")
        elif message.get("kind") == "file" and isinstance(name, str) and isinstance(text, str):
            raw = text.encode("utf-8", "surrogatepass")
            if len(raw) <= self.largest:
                self._take((raw, name[:200]))
