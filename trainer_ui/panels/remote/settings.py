"""The parameters of the training, under the names of the training system's documents, and the recommended steps with their reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.plan import fields
from trainer_core.prepare.workbench import NO_POLICY
from trainer_core.text import printable
from trainer_ui.controls import SettingControl, show_settings
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph, hint, show
from trainer_ui.panels.card import fold
from trainer_ui.panels.length import Epochs
from trainer_ui.widgets import Box, Button, Dropdown, VBox

if TYPE_CHECKING:
    from trainer_ui.remote_desk import RemoteDesk
    from trainer_ui.widgets import Widget

NAME = {"output.name": "Version name"}
CORE = {
    "network.rank": "Network Dimension",
    "network.alpha": "Network Alpha",
    "optimizer.learning_rate": "Learning Rate",
    "schedule.steps": "Max Training Steps",
    "dataset.trigger": "Trigger Token",
}
ADVANCED = {
    "schedule.scheduler": "LR Scheduler",
    "optimizer.name": "Optimizer",
    "schedule.batch_size": "Batch Size",
    "memory.mixed_precision": "Gradient Dtype",
    "dataset.repeats": "Num Repeats",
}
"""The parameters of the document "LoRA Training System" by the settings of a plan that they are."""
NOTHING_SET = "None: the values stay as they are"
POLICY_HELP = "It computes steps and rates from the number of images. Your own values stay until you take its values."


class ParametersPanel:
    """Version name, recommended values, and the core and the advanced parameters."""

    def __init__(self, desk: RemoteDesk, opens: Widget) -> None:
        self.desk, session = desk, desk.session
        self.controls: dict[str, SettingControl] = {}
        self.policy = Dropdown(description="Recommended values", options=[(NOTHING_SET, NO_POLICY)])
        self.policy.observe(session.handler(session.bench.use_policy), "value")
        self.why = Paragraph("", "small", role="status")
        self.adjust = Button(description="Use the recommended values", classes=("easel-small",))
        hint(self.adjust, "Removes your own values for the settings that it computes")
        self.adjust.on_click(session.handler(lambda _: session.note(session.bench.auto_adjust())))
        self.undo = Button(description="Undo", classes=("easel-small",))
        self.undo.on_click(session.handler(lambda _: session.bench.undo_adjust()))
        self.buttons = Box([self.adjust, self.undo], classes=("easel-row",))
        front = self._grid({**NAME, **CORE})
        self.epochs = Epochs(session, self.controls["schedule.steps"])
        advanced = fold(session, "Advanced Parameters", lambda: [self._advanced()])
        self.widget = VBox(
            [
                Paragraph("Parameters", "heading"),
                helped(self.policy, POLICY_HELP),
                self.why,
                self.buttons,
                front,
                advanced,
                opens,
            ],
            classes=("easel-card", "easel-recipe"),
        )

    def _advanced(self) -> Box:
        made = self._grid(ADVANCED)
        self._show_controls()
        return made

    def _grid(self, titles: dict[str, str]) -> Box:
        known, made = fields.all_fields(), []
        for path, title in titles.items():
            one = SettingControl(self.desk.session, known[path])
            # The name that the document has for it; its help and its source are those of the setting.
            one.control.description = title
            self.controls[path] = one
            made.append(one.widget)
        return Box(made, classes=("easel-settings",))

    def show(self) -> None:
        """Shows the values with their sources, and what is recommended and why."""
        self._show_controls()
        self.epochs.show()
        self._show_policy()

    def _show_controls(self) -> None:
        session = self.desk.session
        show_settings(session, self.controls.values())
        for path, one in self.controls.items():
            one.set_visible(session.scope.shows(path, session.bench.state.draft.source_of(path)))

    def _show_policy(self) -> None:
        from trainer_core import policies

        state, values = self.desk.session.bench.state, self.desk.session.values
        use = state.profile.use if state.profile else ""
        found = policies.for_family(state.family, use, str(values["model.method"])) if state.family else []
        if state.policy is not None and state.policy not in found:
            found = [*found, state.policy]
        wanted = [(NOTHING_SET, NO_POLICY), *((printable(one.title, 80), one.id) for one in found)]
        if tuple(wanted) != tuple(self.policy.options):
            self.policy.options = wanted
        self.policy.value = state.policy.id if state.policy else NO_POLICY
        self.why.show_text(state.prefilled.message if state.prefilled else "")
        show(self.buttons, state.policy is not None)
        self.undo.disabled = state.adjusted is None
