"""A button beside a field for a path: it opens the file picker, whose choice goes into the field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.widgets import Button, VBox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trainer_ui.components.file_picker import FilePicker
    from trainer_ui.views import Views


class Browse:
    """The button; the picker is made when it is first opened. `take` is called with the chosen path, with the lock held."""

    def __init__(
        self,
        session: Views,
        what: str,
        take: Callable[[str], object],
        now: Callable[[], object],
        *,
        wants: str = "file",
        extensions: tuple[str, ...] = (),
    ) -> None:
        self.session, self.what, self.take, self.now = session, what, take, now
        self.wants, self.extensions = wants, extensions
        self.picker: FilePicker | None = None
        self.is_open = False
        words = "a folder" if wants == "folder" else "a file" if wants == "file" else "a file or folder"
        self.button = Button(description=f"Choose {words}", classes=("easel-small", "easel-browse-open"))
        self.button.on_click(session.handler(lambda _: self.turn()))
        self.widget = VBox([self.button], classes=("easel-browse",))

    def turn(self) -> None:
        """Opens the picker at the path of the field, or closes it."""
        self._set_open(not self.is_open)
        if self.is_open and self.picker is not None:
            self.picker.look_at(str(self.now() or ""))

    def _set_open(self, is_open: bool) -> None:
        if is_open and self.picker is None:
            from trainer_ui.components.file_picker import FilePicker

            self.picker = FilePicker(self.what, self.wants, self.extensions, self._chosen)
            self.picker.closed = self.session.handler(lambda _: self._set_open(False))
        self.is_open = is_open
        self.widget.children = (self.button, self.picker) if is_open and self.picker is not None else (self.button,)

    def _chosen(self, path: Path) -> None:
        """Takes the choice and closes the picker."""
        self.session.handler(lambda _: self._take(str(path)))()

    def _take(self, path: str) -> None:
        self._set_open(False)
        self.take(path)
