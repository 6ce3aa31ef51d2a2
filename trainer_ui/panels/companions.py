"""The companion files of a model (VAE, text encoders): those in the library, and those to download."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.plan import fields
from trainer_ui.controls import SettingControl, show_settings
from trainer_ui.formatting import Paragraph, hint, show
from trainer_ui.panels.fetch import Fetch, links_to
from trainer_ui.widgets import Box, Button, VBox

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from trainer_core.models.detection import Detection
    from trainer_core.models.library import MissingPart
    from trainer_ui.session import Session
    from trainer_ui.shelf import Shelf


class CompanionsPanel:
    """A control for each companion file that the model needs, and a button that downloads the missing ones."""

    def __init__(self, session: Session, shelf: Shelf) -> None:
        self.session, self.shelf = session, shelf
        self.controls: dict[str, SettingControl] = {}
        self.settings = Box(classes=("easel-settings",))
        self.unsure, self.missing = Paragraph("", "muted", "small", "lines"), Paragraph("", "warn", "small", "lines")
        self.get = Button(description="Fetch the missing files")
        self.get.on_click(session.handler(lambda _: self._get()))
        self.fetch = Fetch(session, self._arrived, _kind)
        session.forgetting.append(self.fetch.forget)
        self.widget = VBox(
            [self.settings, self.unsure, self.missing, self.get, self.fetch.widget], classes=("easel-companions",)
        )

    def show(self) -> None:
        """Shows the companion files that the engine needs for this model."""
        needed = self.session.scope.needed_parts()
        for path in needed:
            if path not in self.controls:
                self.controls[path] = SettingControl(self.session, fields.all_fields()[path])
        self.settings.children = tuple(one.widget for one in self.controls.values())
        for path, one in self.controls.items():
            one.set_visible(path in needed)
        show_settings(self.session, self.controls.values())
        self.unsure.show_text("\n".join(self._doubts(needed)))
        lacking = self._lacking()
        self.missing.show_text("\n".join(map(_line, lacking)))
        able = [part for part in lacking if part.sources]
        self.get.description = f"Fetch {_title(able[0])}" if len(able) == 1 else f"Fetch these {len(able)} files"
        hint(self.get, "\n".join(_address(part) for part in able))
        show(self.get, bool(able) and not self.fetch.is_busy)
        self.fetch.show()
        show(self.widget, bool(needed) or self.fetch.state != "idle")

    def _doubts(self, needed: Iterable[str]) -> Iterator[str]:
        """What the headers of the found files leave uncertain."""
        companions, values = self.session.bench.state.facts.companions, self.session.values
        for setting, doubt in companions.unsure.items() if companions else ():
            path = f"model.{setting}"
            if path in needed and values[path] == str(companions.found[setting].file if companions else ""):
                yield f"{fields.all_fields()[path].title}: {doubt}"

    def _lacking(self) -> list[MissingPart]:
        """The files that are needed, have no value yet, and are not in the library."""
        companions = self.session.bench.state.facts.companions
        needed = {path for path in self.session.scope.needed_parts() if not self.session.values[path]}
        return [part for part in (companions.missing if companions else ()) if f"model.{part.setting}" in needed]

    def _get(self) -> None:
        self.fetch.fetch(*links_to([_address(part) for part in self._lacking() if part.sources]))

    def _arrived(self, _: Path) -> None:
        """Scans the library again; it finds the new file by its header, like any other file."""
        self.shelf.look()


def _title(part: MissingPart) -> str:
    """The title of the setting for a part."""
    return fields.all_fields()[f"model.{part.setting}"].title


def _address(part: MissingPart) -> str:
    return f"hf:{part.sources[0].repo}/{part.sources[0].file}"


def _line(part: MissingPart) -> str:
    where = f" Recommended source: {part.sources[0].repo}." if part.sources else ""
    return f"{part.why}{where}"


def _kind(found: Detection, name: str) -> str:
    return f"{name} is a {found.role.replace('_', ' ')}."
