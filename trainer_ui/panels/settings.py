"""The settings of a plan: the common ones in front, the others in groups by section; of each those that have a meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.plan import fields
from trainer_core.plan.draft import Source
from trainer_ui.controls import SettingControl, is_box, show_settings
from trainer_ui.panels.card import card, fold
from trainer_ui.panels.memory import MemoryChoice
from trainer_ui.widgets import Box, VBox
from trainer_ui.words import show

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

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
    "schedule.gradient_accumulation",
    "sampling.every_steps",
    "sampling.prompt",
)
GROUPS = {
    "model": "Model",
    "dataset": "Pictures",
    "network": "Network",
    "embedding": "New word",
    "optimizer": "Optimizer",
    "schedule": "Schedule",
    "memory": "Memory",
    "sampling": "Samples",
    "output": "Output",
}


class SettingsPanel:
    """The memory preset, and controls for every setting, made when they are first seen."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.controls: dict[str, SettingControl] = {}
        self.memory = MemoryChoice(session)
        known = fields.all_fields()
        self._members = _others(known)
        self.groups = {section: self._group(members) for section, members in self._members.items()}
        front = self._grid([known[path] for path in IN_FRONT])
        self.widget = card("Settings", self.memory.widget, front, *self.groups.values())

    def _group(self, members: Sequence[SettingField]) -> VBox:
        return fold(self.session, "", lambda: [self._grid(members)])

    def _grid(self, members: Sequence[SettingField]) -> Box:
        made = [SettingControl(self.session, field) for field in members]
        self.controls.update({one.field.path: one for one in made})
        return Box([one.widget for one in made], classes=("easel-settings",))

    def show(self) -> None:
        """Shows each setting that has a meaning or was set, its value and where that comes from."""
        self.memory.show()
        show_settings(self.session, self.controls.values())
        scope, source_of = self.session.scope, self.session.bench.draft.source_of
        # The files that must lie beside the model are asked for there.
        here = set(fields.all_fields()).difference(scope.needed_parts())
        seen = {path for path in here if scope.shows(path, source_of(path))}
        for path, one in self.controls.items():
            one.away(path not in seen)
        for section, group in self.groups.items():
            self._show_group(group, section, seen)

    def _show_group(self, group: VBox, section: str, seen: Container[str]) -> None:
        paths = [field.path for field in self._members[section] if field.path in seen]
        many = len(paths)
        mine = sum(self.session.bench.draft.source_of(path) is Source.USER for path in paths)
        group.children[0].description = f"{GROUPS[section]}: {many} more" + (f", {mine} yours" if mine else "")
        show(group, many > 0)


def _others(known: Mapping[str, SettingField]) -> dict[str, list[SettingField]]:
    groups: dict[str, list[SettingField]] = {}
    for path, field in known.items():
        if path not in ELSEWHERE and path not in IN_FRONT:
            groups.setdefault(field.section, []).append(field)
    # Boxes to tick come last: among fields to fill in, the lines of a form do not meet.
    return {section: sorted(members, key=is_box) for section, members in groups.items()}
