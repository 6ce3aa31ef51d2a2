"""The memory preset: those for the family of the model, and the one that fits this GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.catalog import presets
from trainer_core.prepare import problems
from trainer_core.text import printable
from trainer_ui.answers import too_small
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph, show
from trainer_ui.widgets import Box, Button, Dropdown, VBox

if TYPE_CHECKING:
    from trainer_core.catalog.presets import Preset
    from trainer_core.prepare.state import State
    from trainer_core.problems import Fix
    from trainer_ui.session import Session

NONE = "None"
HELP = "Settings that make a training fit a GPU. They override the profile; your own values stay."


class MemoryChoice:
    """First what the preset lacks for this job; then a choice of preset, its explanation, and the sources of its values."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.choice = Dropdown(description="Memory preset", options=[(NONE, "")])
        self.choice.observe(session.handler(session.bench.use_preset), "value")
        self.explanation = Paragraph("", "muted", "small", "lines")
        self.sources = Paragraph("", "muted", "small", "lines")
        self.short = Paragraph("", "grow")
        self.mend = Button(classes=("easel-fix",))
        self.mend.on_click(session.handler(lambda _: self._mend()))
        self.lacks = Box([self.short, self.mend], classes=("easel-row",))
        self.widget = VBox(
            [self.lacks, helped(self.choice, HELP), self.explanation, self.sources], classes=("easel-memory",)
        )

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
        # By the reason: often one keeps out several.
        titles: dict[str, list[str]] = {}
        for name, why in refused.items():
            if state.preset is None or name != state.preset.id:
                titles.setdefault(why, []).append(f'"{presets.get(name).title}"')
        left_out = [f"Not offered with your settings: {', '.join(names)}. {why}" for why, names in titles.items()]
        self._show_lack()
        said = [state.preset.explanation] if state.preset else []
        self.explanation.show_text("\n".join([*said, *left_out]))
        self.sources.show_text("\n".join(f"Source: {one}" for one in state.preset.sources) if state.preset else "")

    def _show_lack(self) -> None:
        """Says that the preset is too small for the job, with the change that makes it fit."""
        message, fix = too_small(self.session), self._fix()
        self.short.show_text(message, "warn")
        if fix is not None:
            self.mend.description = printable(fix.label, 400)
        show(self.mend, fix is not None)
        show(self.lacks, bool(message))

    def _fix(self) -> Fix | None:
        """The fix that the list of problems has for it."""
        message = too_small(self.session)
        found = next((one.fix for one in self.session.problems if message and one.message == message), None)
        return found if found is not None and not found.is_advice else None

    def _mend(self) -> None:
        if (fix := self._fix()) is not None:
            self.session.change(fix.changes)


def _fitting(state: State, found: list[Preset]) -> list[Preset]:
    """The presets with which the job can fit the GPU that each is for. The estimate is needed when there are some."""
    if not found:
        return []
    from trainer_core.prepare import preset_fit

    return [one for one in found if preset_fit.can_fit(state.use_preset(one))]
