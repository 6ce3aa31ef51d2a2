"""Copies the dataset out, as a folder or a zip, on request without what the images tell besides their pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.errors import DatasetError
from trainer_ui.components.download import Download
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.card import row
from trainer_ui.widgets import Button, Checkbox, Text, VBox

if TYPE_CHECKING:
    from trainer_ui.dataset_session import DatasetSession

NAMED = 5


class ExportPanel:
    """Writes a copy of the dataset into a folder or a zip, and gives a zip to the browser."""

    def __init__(self, session: DatasetSession) -> None:
        self.session = session
        self.target = Text(
            description="New folder, or a name that ends in .zip",
            placeholder="/path/to/copy.zip",
            continuous_update=False,
        )
        self.target.observe(session.handler(lambda _: None), "value")
        self.private = Checkbox(
            description="Without position, camera, prompts and other texts in the images", indent=False, value=True
        )
        self.button = Button(description="Write the copy")
        self.button.on_click(session.handler(lambda _: self._export()))
        self.said = Paragraph("", "small", role="status")
        self.download = Download(self._zip)
        self.download.title = "Download as a zip"
        self.widget = VBox(
            [
                Paragraph("Copy the dataset out", "heading"),
                helped(self.target, "Nothing of the dataset changes. Edits and hidden files do not go along."),
                self.private,
                row(self.button, self.download),
                self.said,
            ],
            classes=("easel-card", "easel-export"),
        )
        self._version = -1

    def show(self) -> None:
        """Shows where the copy would go."""
        session = self.session
        show(self.widget, session.root is not None)
        if self._version != session.version and session.root is not None:
            self._version = session.version
            self.target.value = str(places.home() / "exports" / f"{session.root.name}.zip")
            self.said.show_text("")
        self.button.disabled = bool(session.doing) or not self.target.value.strip()
        self.download.disabled = bool(session.doing)

    def _export(self) -> None:
        root, target, is_private = self.session.root, places.typed(self.target.value), self.private.value
        if root is not None:
            self.session.do(f"Copying to {target}.", lambda: self._write(root, target, is_private=is_private))

    def _write(self, root: Path, target: Path, *, is_private: bool) -> str:
        from trainer_core.curation import exporting

        form = exporting.Form(is_private=is_private, ending=self.session.extension)
        found = exporting.export(root, target, form, self.session.going)
        words = f"{found.images:,} images and {found.captions:,} captions are in {target}."
        told = [f"{name} tells {what}" for name, what in found.told[:NAMED]]
        left = [f"{name}: {why}" for name, why in found.left_out[:NAMED]]
        more = (
            f" {len(found.told):,} {'image tells' if len(found.told) == 1 else 'images tell'} more than their pixels: {'; '.join(told)}."
            if told
            else ""
        )
        out = f" Left out: {'; '.join(left)}." if left else ""
        with self.session.lock:
            self.said.show_text(f"{words}{more}{out}")
        return words

    def _zip(self) -> tuple[Path, str]:
        """Writes a zip for the browser, in place of the one before."""
        root = self.session.root
        if root is None:
            raise DatasetError("No dataset is open.")
        folder = places.home() / "exports" / "download"
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.zip"):
            old.unlink()
        target = folder / f"{root.name}.zip"
        self._write(root, target, is_private=self.private.value)
        return target, target.name
