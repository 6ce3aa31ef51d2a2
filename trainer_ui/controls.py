"""One control for each setting, derived from its declaration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipywidgets import Box, Button, Checkbox, Dropdown, IntText, Label, Layout, Text, Widget

from trainer_core.plan import fields
from trainer_core.plan.draft import Source
from trainer_ui.words import hint

if TYPE_CHECKING:
    from trainer_core.plan.fields import SettingField
    from trainer_ui.session import Session

SOURCE_WORDS = {Source.DEFAULT: "default", Source.PROFILE: "profile", Source.PREFILL: "prefilled", Source.USER: "yours"}
WIDE = frozenset({"sampling.prompt", "sampling.negative_prompt", "model.vae", "output.folder", "output.copy_to"})
"""Settings that hold long text and get a line of their own."""
EMPTY_CHOICE = "as the file says"


def label(field: SettingField) -> str:
    """What stands above a control: title and unit."""
    return f"{field.title} ({field.unit})" if field.unit else field.title


def tooltip(field: SettingField) -> str:
    """What a control says when pointed at: its doc, and its bounds where it has any."""
    low, high = field.minimum, field.maximum
    bounds = f" From {_counted(low)} to {_counted(high)}." if low is not None and high is not None else ""
    return field.doc + bounds


def _counted(bound: float) -> str:
    return f"{int(bound):,}" if bound == int(bound) else f"{bound:g}"


def shown(field: SettingField, value: Any) -> Any:
    """A value as its control holds it. A float is text, so that 1e-4 reads as people write it."""
    if field.base_type is float and isinstance(value, int | float) and not isinstance(value, bool):
        return plain_number(value)
    if field.base_type is int and not field.choices:
        return value if isinstance(value, int) else 0
    return value if field.base_type is bool else str(value)


def plain_number(value: float) -> str:
    """A number as people write it: 0.01, 1e-4, 7."""
    text = f"{value:.10g}"
    if 0 < abs(value) < 0.001:
        mantissa, _, power = f"{value:.9e}".partition("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}"
    return text


def meant(field: SettingField, entered: Any) -> Any:
    """The value for the draft that was entered; what cannot be read stays as it was typed, and the draft says what is wrong."""
    return fields.from_text(field.path, entered.strip())[0] if field.base_type is float else entered


def control(field: SettingField) -> Widget:
    """A control of the kind that fits the setting's type. None of them changes a value out of bounds in silence."""
    name = label(field)
    if field.choices:
        found: Widget = Dropdown(
            description=name, options=[(choice or EMPTY_CHOICE, choice) for choice in field.choices]
        )
    elif field.base_type is bool:
        found = Checkbox(description=name, indent=False)
    elif field.base_type is int:
        found = IntText(description=name)
    else:
        found = Text(description=name, continuous_update=False)
    hint(found, tooltip(field))
    return found


class SettingControl:
    """A setting on the page: its control, where its value comes from, and a way back from the user's value."""

    def __init__(self, session: Session, field: SettingField, layout: Layout) -> None:
        self.field = field
        self.control: Any = control(field)
        self.source = Label(layout=layout)
        self.source.add_class("easel-source")
        self.reset = Button(description="reset", layout=layout)
        self.reset.add_class("easel-reset")
        hint(self.reset, f"Take back your value of {field.title}")
        self.widget = Box([self.control, self.source, self.reset], layout=layout)
        self.widget.add_class("easel-setting")
        if field.path in WIDE:
            self.widget.add_class("easel-wide")
        self._session = session
        self.control.observe(session.handler(self._entered), "value")
        self.reset.on_click(session.handler(lambda _: session.reset(field.path)))

    def _entered(self, entered: Any) -> None:
        self._session.change({self.field.path: meant(self.field, entered)})
        # The page may have shown another value since, from a profile that was chosen just before: it is told what holds.
        self.control.send_state("index" if isinstance(self.control, Dropdown) else "value")

    def show(self, value: Any, source: Source) -> None:
        """Shows the value and its source."""
        wanted = shown(self.field, value)
        if isinstance(self.control, Dropdown) and wanted not in self.field.choices:
            wanted = None
        if self.control.value != wanted:
            self.control.value = wanted
        self.source.value = SOURCE_WORDS[source]
        (self.widget.add_class if source is Source.USER else self.widget.remove_class)("easel-yours")
