"""The control for weights by block of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_core.errors import WeightsError
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.tools.control import Control
from trainer_ui.panels.tools.figures import figure
from trainer_ui.widgets import Box, Button, Text, VBox

if TYPE_CHECKING:
    from trainer_ui.tool_fields import Blocks
    from trainer_ui.tool_session import ToolSession


class BlockWeights(Control):
    """The blocks are listed when the user asks for them, because they depend on the file."""

    field: Blocks
    is_wide = True

    def __init__(self, session: ToolSession, utility: str, field: Blocks) -> None:
        super().__init__(session, utility, field)
        self.button = Button(description="Show its blocks", classes=("easel-small",))
        self.button.on_click(session.handler(lambda _: self._list()))
        self.said = Paragraph("", "small", role="status")
        self.grid = Box([], classes=("easel-tool-blocks",))
        self.fields: dict[str, Text] = {}
        self.file = ""
        """The file whose blocks are listed."""
        self.widget = VBox([Box([self.button, self.said], classes=("easel-row",)), self.grid])

    def _list(self) -> None:
        from trainer_core.tools import lora_files
        from trainer_core.weights.lora import blocks

        path = self.session.desks[self.utility].values[self.field.of]
        if not path:
            raise WeightsError("Choose a LoRA first.", "")
        (network,) = lora_files.listed([path], "")
        counted: dict[str, int] = {}
        for module in network.modules:
            block = blocks.block_of(module.key, network.family)
            counted[block] = counted.get(block, 0) + 1
        self._forget()
        self.fields = {}
        for block in blocks.in_order(counted, network.family):
            layers = counted[block]
            text = Text(
                description=f"{block} ({layers} {'layer' if layers == 1 else 'layers'})",
                value="1",
                continuous_update=False,
            )
            text.observe(self.session.handler(lambda typed, block=block: self._typed(block, typed)), "value")
            self.fields[block] = text
        self.grid.children = tuple(self.fields.values())
        self.file = path
        self.change({})
        self._tell()

    def _typed(self, block: str, text: str) -> None:
        key = f"{self.field.name}/{block}"
        if self.takes(lambda: self.change({**self.value, block: figure(text)}), key, f"Block {block}"):
            self._tell()
        else:
            self.said.show_text(f"{block}: {self.session.desks[self.utility].wrong[key][1]}", "danger")

    def _tell(self) -> None:
        self.said.show_text(f"{len(self.fields)} blocks. 1 leaves a block as it is, 0 leaves it out.", "muted")

    def _forget(self) -> None:
        for block in self.fields:
            self.session.accept(self.utility, f"{self.field.name}/{block}")

    def refill(self) -> None:
        """Hides the blocks, which are listed again when the user asks."""
        super().refill()
        self._forget()
        self.file = ""

    def show(self) -> None:
        """Hides the blocks of a file that is not chosen any more."""
        super().show()
        values: dict[str, Any] = self.session.desks[self.utility].values
        is_of_file = bool(self.file) and values[self.field.of] == self.file
        show(self.grid, is_of_file)
        if self.file and not is_of_file:
            self._forget()
        if self.file and not is_of_file and self.value:
            values[self.field.name] = {}
