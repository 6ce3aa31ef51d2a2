"""Where new files go: one of the roots, and a folder in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.components.cards import Card, Cards
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph
from trainer_ui.widgets import Box, Button, Dropdown, Text, VBox

if TYPE_CHECKING:
    from trainer_core.keeping.bounds import Root, Spot
    from trainer_ui.files_session import FilesSession

ICONS = {"models": "cube", "outputs": "spark", "datasets": "camera"}
BRIEF = {
    "models": "Base models, LoRAs from elsewhere, VAEs",
    "outputs": "LoRAs and models that you trained",
    "datasets": "Images and captions",
}
USUAL = {"models": ("checkpoints", "diffusion_models", "loras", "vae", "text_encoders", "controlnet", "embeddings")}
"""Folders that are offered before they exist, as other programs call them. Source: ComfyUI folder_paths.py."""
MOST_FOLDERS = 200
HERE = "(directly in it)"


class Where:
    """The choice of the folder for what comes in."""

    def __init__(self, session: FilesSession) -> None:
        self.session = session
        handler = session.handler
        self.cards = Cards("Where the files go", handler(self._take_root))
        self.below = Dropdown(description="Folder in it", options=[(HERE, "")])
        self.below.observe(handler(self._take_below), "value")
        self.name = Text(description="New folder", placeholder="a name", continuous_update=False)
        self.make = Button(description="Make it", classes=("easel-small",))
        self.make.on_click(handler(lambda _: self._make()))
        naming = Box([self.name, self.make], classes=("easel-row", "easel-enters", "easel-files-new"))
        lines = Box(
            [helped(self.below, "A sub-folder that exists, or a usual one that is made."), naming],
            classes=("easel-files-fields",),
        )
        self.widget = VBox(
            [Paragraph("Where do they go?", "heading"), self.cards, lines], classes=("easel-card", "easel-files-where")
        )

    def show(self) -> None:
        """Shows the roots, and the folders of the chosen one."""
        target = self.session.target
        known = self._roots()
        self.cards.show_cards(
            (Card(each.id, each.title, BRIEF.get(each.id, each.about), ICONS.get(each.id, "star")) for each in known),
            target.root.id,
        )
        below = "/".join(target.parts)
        options = [(HERE, ""), *((name, name) for name in self._folders(target, below))]
        if list(self.below.options) != options:
            self.below.options = options
        if self.below.value != below:
            self.below.value = below

    def _roots(self) -> list[Root]:
        from trainer_core.keeping import bounds

        return [each for each in bounds.roots() if not each.is_managed and not each.is_fixed]

    def _folders(self, target: Spot, below: str) -> list[str]:
        from trainer_core.errors import FilesError
        from trainer_core.keeping import listing
        from trainer_core.keeping.bounds import Spot

        try:
            found = [
                one.name for one in listing.look(Spot(target.root)).entries if one.is_folder and one.link != "outside"
            ]
        except FilesError:
            found = []
        return list(dict.fromkeys([*found[:MOST_FOLDERS], *USUAL.get(target.root.id, ()), *([below] if below else [])]))

    def _take_root(self, name: str) -> None:
        from trainer_core.keeping import bounds

        self.session.target = bounds.spot(name)

    def _take_below(self, name: str) -> None:
        from trainer_core.keeping import bounds

        self.session.target = bounds.spot(self.session.target.root.id, name or "")

    def _make(self) -> None:
        from trainer_core.keeping import bounds, moving
        from trainer_core.keeping.bounds import Spot

        root = Spot(self.session.target.root)
        bounds.folder(root)
        self.session.target = moving.new_folder(root, self.name.value)
        self.name.value = ""
        self.session.look()
