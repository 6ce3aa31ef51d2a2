"""Which images of the dataset are trained: a selection, what of each (masks), and which are held out to measure their loss."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.prepare import image_folders
from trainer_core.text import printable
from trainer_ui.controls import help_of
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.card import fold
from trainer_ui.widgets import Dropdown, Widget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer_ui.panels.settings import Settings
    from trainer_ui.session import Session

SELECTION, MASKS = "dataset.selection", "dataset.masks"
SHOWN = (MASKS, image_folders.SHARE, image_folders.EVERY)
"""The settings that have their usual control here."""
TITLE = "Selection, masks and held-out images"


class ImageChoice:
    """The group in the dataset's card; its controls are made when it is first opened."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self.session, self.settings = session, settings
        self.selection: Any = None
        """The dropdown of the dataset's selections; None until the group was opened."""
        self.cost = Paragraph("", "small", "muted", role="status")
        self.widget = fold(session, TITLE, self._content)

    def _content(self) -> Sequence[Widget]:
        self.selection = Dropdown(description="Selection", options=[("All images", "")], value="")
        self.selection.observe(self.session.handler(lambda name: self.session.change({SELECTION: name})), "value")
        grid = self.settings.front(SHOWN)
        chosen = helped(self.selection, *help_of(SELECTION))
        grid.children = (chosen, *grid.children)
        return [grid, self.cost]

    def focus(self, path: str) -> bool:
        """Opens the group if the setting is in it; returns whether the keyboard is given to its selection."""
        if path not in (SELECTION, *SHOWN):
            return False
        self.widget.children[0].value = True
        if path == SELECTION:
            self.selection.focus()
        return path == SELECTION

    def show(self) -> None:
        """Shows the selections of the dataset, what is set, and what held-out images cost."""
        session = self.session
        values, dataset = session.values, session.bench.state.facts.dataset
        show(self.widget, bool(values["dataset.path"]))
        self.widget.children[0].description = f"{TITLE}{said(values)}"
        if self.selection is None:
            return
        options = _options(dataset.selections if dataset is not None else {}, values[SELECTION])
        if list(self.selection.options) != options:
            self.selection.options = options
        if self.selection.value != values[SELECTION]:
            self.selection.value = values[SELECTION]
        self.cost.show_text(image_folders.held_out(session.bench.state) or self._why_none())

    def _why_none(self) -> str:
        """Why no image can be held out, once that is known: the setting is not shown then."""
        session = self.session
        scope, source = session.scope, session.bench.state.draft.source_of(image_folders.SHARE)
        if scope.claim is None or scope.shows(image_folders.SHARE, source):
            return ""
        return f"No image can be held out to measure its loss. {scope.why_not(image_folders.SHARE)}"


def _options(found: Mapping[str, int], chosen: str) -> list[tuple[str, str]]:
    """The choices of the dropdown; a selection that the dataset does not have stays, with a word about it."""
    known = [(f"{printable(name, 64)} ({image_folders.counted(many)})", name) for name, many in found.items()]
    missing = [(f"{printable(chosen, 64)} (the dataset has none)", chosen)] if chosen and chosen not in found else []
    return [("All images", ""), *known, *missing]


def said(values: Mapping[str, Any]) -> str:
    """What is set, for the title of the group; "" if nothing is."""
    share, selection, masks = values[image_folders.SHARE], values[SELECTION], values[MASKS]
    parts = [
        f"only {printable(selection, 40)}" if selection else "",
        f"masks of {printable(Path(masks).name, 40)}" if masks else "",
        f"{share:.0%} held out" if isinstance(share, float) and share else "",
    ]
    found = ", ".join(filter(None, parts))
    return f": {found}" if found else ""
