"""The controls of the settings, for the steps that show them: the common ones first, the others in groups by section."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.draft.layers import Source
from trainer_core.plan import fields
from trainer_ui.controls import SettingControl, is_box, show_settings
from trainer_ui.formatting import show
from trainer_ui.panels.card import fold
from trainer_ui.widgets import Box, VBox

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from trainer_core.plan.fields import SettingField
    from trainer_ui.session import Session

RECIPE = (
    "schedule.steps",
    "dataset.repeats",
    "optimizer.learning_rate",
    "network.rank",
    "network.alpha",
    "dataset.resolution",
    "schedule.batch_size",
    "optimizer.name",
)
FINETUNING = (
    "schedule.steps",
    "dataset.repeats",
    "dataset.resolution",
    "schedule.batch_size",
    "optimizer.learning_rate",
    "optimizer.name",
    "network.train_text_encoder",
    "optimizer.text_encoder_learning_rate",
    "embedding.init_word",
    "embedding.vectors",
    "memory.half_weights",
    "output.save_precision",
)
"""What is in front of the recipe of the finetuning trainer; settings without an effect on the chosen method are hidden."""
CLASS = ("dataset.class_path", "dataset.class_caption")
"""What is beside the folder of images in the finetuning trainer."""
OF_DATASET = (
    "dataset.selection",
    "dataset.masks",
    "dataset.controls",
    "dataset.controls_2",
    "dataset.controls_3",
    "dataset.only_pairs",
    "dataset.validation_share",
    "dataset.validate_every",
    "dataset.subsets",
)
"""What has a place of its own in the dataset's card."""
OUTPUT = ("output.name", "output.save_every_steps")
SAMPLES = ("sampling.every_steps", "sampling.at_start")
PROMPTS = ("sampling.prompt", "sampling.prompts")
"""The settings that the list of prompts shows."""
MEMORY = ("schedule.gradient_accumulation",)
IN_FRONT = (*RECIPE, *OUTPUT, *SAMPLES, *PROMPTS, *MEMORY)
"""The settings that are outside the groups: in the steps, in this order. Another app has other settings than RECIPE."""


class Settings:
    """The controls of all settings. Those of a group are made when it is first opened, the others when their step is.

    The settings that have no effect are hidden.
    """

    def __init__(self, session: Session, essentials: Sequence[str] = RECIPE, of_images: Sequence[str] = ()) -> None:
        self.session, self.essentials, self.of_images = session, essentials, of_images
        self.controls: dict[str, SettingControl] = {}
        known = fields.all_fields()
        self._members = _others(known, (*essentials, *of_images, *OF_DATASET, *OUTPUT, *SAMPLES, *PROMPTS, *MEMORY))
        self.groups = {section: self._group(members) for section, members in self._members.items()}

    def _group(self, members: Sequence[SettingField]) -> VBox:
        return fold(self.session, "", lambda: [self._grid(members)])

    def _grid(self, members: Sequence[SettingField]) -> Box:
        made = [SettingControl(self.session, field) for field in members]
        self.controls.update({one.field.path: one for one in made})
        return Box([one.widget for one in made], classes=("easel-settings",))

    def front(self, paths: Sequence[str]) -> Box:
        """A grid with the controls of these settings."""
        known = fields.all_fields()
        return self._grid([known[path] for path in paths])

    def show(self) -> None:
        """Shows each setting that has an effect or was set, its value and the source of the value."""
        show_settings(self.session, self.controls.values())
        scope, source_of = self.session.scope, self.session.bench.state.draft.source_of
        # The companion files of the model are in the model panel.
        here = set(fields.all_fields()).difference(scope.needed_parts())
        seen = {path for path in here if scope.shows(path, source_of(path))}
        for path, one in self.controls.items():
            one.set_visible(path in seen)
        for section, group in self.groups.items():
            self._show_group(group, section, seen)

    def _show_group(self, group: VBox, section: str, seen: set[str]) -> None:
        paths = [field.path for field in self._members[section] if field.path in seen]
        many = len(paths)
        mine = sum(self.session.bench.state.draft.source_of(path) is Source.USER for path in paths)
        group.children[0].description = f"{fields.SECTIONS[section]}: {many} more" + (f", {mine} yours" if mine else "")
        show(group, many > 0)


def has_panel(field: SettingField) -> bool:
    """Whether a setting has a panel of its own: it says which model, or which images of whom, are trained, or how."""
    return field.about.choices == "methods" or not {"model", "subject"}.isdisjoint(field.about.decides)


def _others(known: Mapping[str, SettingField], in_front: Collection[str]) -> dict[str, list[SettingField]]:
    groups: dict[str, list[SettingField]] = {}
    for path, field in known.items():
        if not has_panel(field) and path not in in_front:
            groups.setdefault(field.section, []).append(field)
    # Checkboxes come last: between text fields they would not line up.
    return {section: sorted(members, key=is_box) for section, members in groups.items()}
