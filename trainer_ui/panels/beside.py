"""The files a model needs beside it: those that were found, and those to fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.plan import fields
from trainer_ui.controls import SettingControl, show_settings
from trainer_ui.panels.fetch import Fetch, links_to
from trainer_ui.widgets import Box, Button, VBox
from trainer_ui.words import Words, hint, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from trainer_core.detection import Detection
    from trainer_core.library import MissingPart
    from trainer_ui.session import Session
    from trainer_ui.shelf import Shelf


class BesidePanel:
    """A control for each file that must lie beside the model, and a button that fetches those that are not here."""

    def __init__(self, session: Session, shelf: Shelf) -> None:
        self.session, self.shelf = session, shelf
        self.controls: dict[str, SettingControl] = {}
        self.settings = Box(classes=("easel-settings",))
        self.unsure, self.missing = Words("", "muted", "small", "lines"), Words("", "warn", "small", "lines")
        self.get = Button(description="Fetch what is missing")
        self.get.on_click(session.handler(lambda _: self._get()))
        self.fetch = Fetch(session, self._arrived, _kind)
        self.widget = VBox(
            [self.settings, self.unsure, self.missing, self.get, self.fetch.widget], classes=("easel-beside",)
        )

    def show(self) -> None:
        """Shows the files that this model needs with this engine."""
        needed = self.session.scope.needed_parts()
        for path in needed:
            if path not in self.controls:
                self.controls[path] = SettingControl(self.session, fields.all_fields()[path])
        self.settings.children = tuple(one.widget for one in self.controls.values())
        for path, one in self.controls.items():
            one.away(path not in needed)
        show_settings(self.session, self.controls.values())
        self.unsure.say("\n".join(self._doubts(needed)))
        lacking = self._lacking()
        self.missing.say("\n".join(map(_line, lacking)))
        able = [part for part in lacking if part.sources]
        self.get.description = f"Fetch {_title(able[0])}" if len(able) == 1 else f"Fetch these {len(able)} files"
        hint(self.get, "\n".join(_address(part) for part in able))
        show(self.get, bool(able) and not self.fetch.is_busy)
        self.fetch.show()
        show(self.widget, bool(needed) or self.fetch.state != "idle")

    def _doubts(self, needed: Iterable[str]) -> Iterator[str]:
        """What a header cannot tell of the files that were taken."""
        beside, values = self.session.bench.facts.beside, self.session.values
        for setting, doubt in beside.unsure.items() if beside else ():
            path = f"model.{setting}"
            if path in needed and values[path] == str(beside.found[setting].file if beside else ""):
                yield f"{fields.all_fields()[path].title}: {doubt}"

    def _lacking(self) -> list[MissingPart]:
        """The files that are needed, that nobody has named, and that the library has not."""
        beside = self.session.bench.facts.beside
        needed = {path for path in self.session.scope.needed_parts() if not self.session.values[path]}
        return [part for part in (beside.missing if beside else ()) if f"model.{part.setting}" in needed]

    def _get(self) -> None:
        self.fetch.fetch(*links_to([_address(part) for part in self._lacking() if part.sources]))

    def _arrived(self, _: Path) -> None:
        """Has the library looked through again: what came is then found, by its header, as any other file is."""
        self.shelf.look()


def _title(part: MissingPart) -> str:
    """A part as its field is called."""
    return fields.all_fields()[f"model.{part.setting}"].title


def _address(part: MissingPart) -> str:
    return f"hf:{part.sources[0].repo}/{part.sources[0].file}"


def _line(part: MissingPart) -> str:
    where = f" Best from {part.sources[0].repo}." if part.sources else ""
    return f"{part.why}{where}"


def _kind(found: Detection, name: str) -> str:
    return f"{name} is a {found.role.replace('_', ' ')}."
