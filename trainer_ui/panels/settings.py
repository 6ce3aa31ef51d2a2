"""Every setting of a plan: the common ones in front, the others in groups by section."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipywidgets import Box, Layout, Widget

from trainer_core.plan import fields
from trainer_ui.controls import SettingControl
from trainer_ui.panels.card import card, fold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer_core.plan.fields import SettingField
    from trainer_ui.session import Session

ELSEWHERE = frozenset({"model.path", "dataset.path", "dataset.trigger"})
"""Settings that have a panel of their own."""
IN_FRONT = (
    "output.name",
    "schedule.steps",
    "dataset.repeats",
    "dataset.resolution",
    "network.rank",
    "network.alpha",
    "optimizer.name",
    "optimizer.learning_rate",
    "schedule.batch_size",
    "sampling.every_steps",
    "sampling.prompt",
)
GROUPS = {
    "model": "Model",
    "dataset": "Pictures",
    "network": "LoRA",
    "optimizer": "Optimizer",
    "schedule": "Schedule",
    "memory": "Memory",
    "sampling": "Samples",
    "output": "Output",
}


class SettingsPanel:
    """Controls for every setting, made when they are first seen."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.controls: dict[str, SettingControl] = {}
        self._layout = Layout()
        known = fields.all_fields()
        self.groups = [self._group(section, rest) for section, rest in _others(known).items()]
        front = self._grid([known[path] for path in IN_FRONT if path in known])
        self.widget = card("Settings", front, *self.groups)

    def _group(self, section: str, members: Sequence[SettingField]) -> Widget:
        title = f"{GROUPS.get(section, section)}: {len(members)} more"
        return fold(self.session, title, lambda: [self._grid(members)])

    def _grid(self, members: Sequence[SettingField]) -> Box:
        made = [SettingControl(self.session, field, self._layout) for field in members]
        self.controls.update({one.field.path: one for one in made})
        grid = Box([one.widget for one in made])
        grid.add_class("easel-settings")
        return grid

    def show(self) -> None:
        """Shows each value and where it comes from."""
        draft = self.session.bench.draft
        for path, one in self.controls.items():
            one.show(self.session.values[path], draft.source_of(path))


def _others(known: Mapping[str, SettingField]) -> dict[str, list[SettingField]]:
    groups: dict[str, list[SettingField]] = {}
    for path, field in known.items():
        if path not in ELSEWHERE and path not in IN_FRONT:
            groups.setdefault(field.section, []).append(field)
    return groups
