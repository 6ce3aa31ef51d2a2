"""The memory preset: those for the family of the model, and the one that fits this GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.catalog import presets
from trainer_core.prepare import problems
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph
from trainer_ui.widgets import Dropdown, VBox

if TYPE_CHECKING:
    from trainer_core.catalog.presets import Preset
    from trainer_core.prepare.state import State
    from trainer_ui.session import Session

NONE = "None"
HELP = "Settings that make a training fit a GPU. They override the profile; your own values stay."


class MemoryChoice:
    """A choice of preset, its explanation, and the sources of its values."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.choice = Dropdown(description="Memory preset", options=[(NONE, "")])
        self.choice.observe(session.handler(session.bench.use_preset), "value")
        self.explanation = Paragraph("", "muted", "small", "lines")
        self.sources = Paragraph("", "muted", "small", "lines")
        self.widget = VBox([helped(self.choice, HELP), self.explanation, self.sources], classes=("easel-memory",))

    def show(self) -> None:
        """Offers the presets of the family and shows the chosen one."""
        state = self.session.bench.state
        found, refused = problems.offered_presets(state)
        best = presets.best(_fitting(state, found), state.facts.machine)
        if state.preset is not None and state.preset not in found:
            found = [*found, state.preset]
        marked = [(f"{one.title} (for this card)" if one is best else one.title, one.id) for one in found]
        options = [(NONE, ""), *marked]
        if tuple(options) != tuple(self.choice.options):
            self.choice.options = options
        self.choice.value = state.preset.id if state.preset else ""
        self.choice.disabled = len(options) == 1
        left_out = [
            f"Not offered with your settings: {presets.get(name).title}. {why}"
            for name, why in refused.items()
            if state.preset is None or name != state.preset.id
        ]
        said = [state.preset.explanation] if state.preset else []
        self.explanation.show_text("\n".join([*said, *left_out]))
        self.sources.show_text("\n".join(f"Source: {one}" for one in state.preset.sources) if state.preset else "")


def _fitting(state: State, found: list[Preset]) -> list[Preset]:
    """The presets with which the job can fit the GPU that each is for. The estimate is needed when there are some."""
    if not found:
        return []
    from trainer_core.prepare import preset_fit

    return [one for one in found if preset_fit.can_fit(state.use_preset(one))]
