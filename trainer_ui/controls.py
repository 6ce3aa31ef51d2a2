"""One control for each setting, derived from its declaration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_core.plan import applies, fields
from trainer_core.plan.draft import Source
from trainer_core.plan.sections import PARTS
from trainer_ui.widgets import Box, Button, Checkbox, Dropdown, IntText, Label, Text, Widget
from trainer_ui.words import Words, hint, show

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainer_core.plan.applies import Scope
    from trainer_core.plan.fields import SettingField
    from trainer_core.problems import Problem
    from trainer_ui.session import Session

SOURCE_WORDS = {Source.DEFAULT: "default", Source.PROFILE: "profile", Source.PREFILL: "prefilled", Source.USER: "yours"}
TONES = {"error": "danger", "warning": "warn", "info": "muted"}
PART_PATHS = frozenset(f"model.{part}" for part in PARTS)
WIDE = frozenset(
    {
        "sampling.prompt",
        "sampling.negative_prompt",
        "output.folder",
        "output.copy_to",
        *PART_PATHS,
        *(choice for choice, _ in applies.CATALOGUED.values()),
    }
)
"""Settings that hold long text, or are told in a sentence, and get a line of their own."""
CHOICE_WORDS = {
    "model.method": {
        "lora": "LoRA or another network",
        "full": "the whole model",
        "dreambooth": "DreamBooth",
        "textual_inversion": "textual inversion (a new word)",
    },
    "model.prediction": {"": "as the file says", "v_prediction": "v-prediction", "flow": "flow matching"},
    "memory.mixed_precision": {"no": "fp32 alone"},
    "output.save_precision": {"float": "fp32"},
    "network.targets": {"": "as usual", "attention_mlp": "attention and MLP", "full": "all"},
}
"""Choices that are not called as they are written in a plan and have no entry in the catalogue."""
EMPTY = "as usual"
PLACEHOLDERS = {
    "model.family": "as the file says",
    "output.folder": "Easel's own outputs folder",
    **dict.fromkeys(PART_PATHS, "/path/to/file.safetensors"),
}


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


def choice_title(path: str, name: str) -> str:
    """What one choice of a setting is called."""
    entry = applies.entry(path, name)
    return entry.title if entry else CHOICE_WORDS.get(path, {}).get(name, name)


def is_switch(field: SettingField) -> bool:
    """Whether a setting is on, off, or as usual."""
    return field.base_type is bool and field.optional


def is_box(field: SettingField) -> bool:
    """Whether a setting is ticked or not."""
    return field.base_type is bool and not field.optional


def is_typed(field: SettingField) -> bool:
    """Whether a setting is typed as text: a float, so that 1e-4 reads as people write it, and a number that may be empty."""
    return not field.choices and (field.base_type is float or (field.base_type is int and field.optional))


def shown(field: SettingField, value: Any) -> Any:
    """A value as its control holds it; one that is empty as ""."""
    if value is None and field.optional:
        return ""
    if is_switch(field) and isinstance(value, bool):
        return "on" if value else "off"
    if is_typed(field) and isinstance(value, int | float) and not isinstance(value, bool):
        return plain_number(value)
    if field.base_type is int and not field.choices and not field.optional:
        return value if isinstance(value, int) else 0
    return value if is_box(field) else str(value)


def plain_number(value: float) -> str:
    """A number as people write it: 0.01, 1e-4, 7."""
    text = f"{value:.10g}"
    if 0 < abs(value) < 0.001:
        mantissa, _, power = f"{value:.9e}".partition("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}"
    return text


def meant(field: SettingField, entered: Any) -> Any:
    """The value for the draft that was entered; what cannot be read stays as it was typed, and the draft says what is wrong."""
    if is_typed(field) or is_switch(field):
        return fields.from_text(field.path, str(entered).strip())[0]
    return entered


def options(field: SettingField, scope: Scope) -> list[tuple[str, str]]:
    """What a dropdown offers, as (title, value): of a choice what can be taken, and what is set with the reason why not."""
    if is_switch(field):
        usual = scope.default(field.path)
        return [(EMPTY if usual is None else f"{EMPTY} ({'on' if usual else 'off'})", ""), ("on", "on"), ("off", "off")]
    titles = ((choice_title(field.path, name), name, why) for name, why in scope.choices(field.path).items())
    return [(f"{title} ({why})" if why else title, name) for title, name, why in titles]


def control(field: SettingField) -> Widget:
    """A control of the kind that fits the setting's type. None of them changes a value out of bounds in silence."""
    name = label(field)
    if field.choices or is_switch(field):
        found: Widget = Dropdown(description=name)
    elif is_box(field):
        found = Checkbox(description=name, indent=False)
    elif field.base_type is int and not is_typed(field):
        found = IntText(description=name)
    else:
        found = Text(description=name, placeholder=PLACEHOLDERS.get(field.path, ""), continuous_update=False)
    hint(found, tooltip(field))
    return found


class SettingControl:
    """A setting on the page: its control, where its value comes from, a way back from the user's value, and a note under it."""

    def __init__(self, session: Session, field: SettingField) -> None:
        self.field = field
        self.control: Any = control(field)
        self.source = Label(classes=("easel-source",))
        self.reset = Button(description="reset", classes=("easel-reset",))
        hint(self.reset, f"Take back your value of {field.title}")
        self._entry = Box([self.control, self.source, self.reset], classes=("easel-entry",))
        self.note = ""
        """What is said under the control."""
        self._words: Words | None = None
        wide = ("easel-wide",) if field.path in WIDE else ()
        self.widget = Box([self._entry], classes=("easel-setting", *wide))
        self._session = session
        self.control.observe(session.handler(self._entered), "value")
        self.reset.on_click(session.handler(lambda _: session.reset(field.path)))

    def _entered(self, entered: Any) -> None:
        self._session.change({self.field.path: meant(self.field, entered)})
        # The page may have shown another value since, from a profile that was chosen just before: it is told what holds.
        self.control.send_state("index" if isinstance(self.control, Dropdown) else "value")

    def away(self, is_away: bool) -> None:
        """Takes the setting out of the page, or puts it back."""
        show(self.widget, not is_away)

    def show(self, scope: Scope, source: Source, origin: str, problem: Problem | None) -> None:
        """Shows the value, the word for where it comes from, and what there is to say about it."""
        value = scope.values[self.field.path]
        wanted = shown(self.field, value)
        if isinstance(self.control, Dropdown):
            wanted = self._offer(options(self.field, scope), wanted)
        elif is_typed(self.field) and self.field.optional:
            usual = scope.default(self.field.path)
            self.control.placeholder = EMPTY if usual is None else plain_number(usual)
        if self.control.value != wanted:
            self.control.value = wanted
        self.source.value = origin
        (self.widget.add_class if source is Source.USER else self.widget.remove_class)("easel-yours")
        entry = applies.entry(self.field.path, value) if isinstance(value, str) else None
        # An empty field speaks for itself.
        if problem is not None and value != "":
            self._say(problem.message, TONES[problem.severity])
        else:
            self._say(entry.doc if entry else "", "muted")

    def _offer(self, wanted_options: list[tuple[str, str]], value: Any) -> Any:
        """Has the dropdown offer these; the value for it, None for one that is not among them."""
        if tuple(wanted_options) != tuple(self.control.options):
            self.control.options = wanted_options
        return value if value in [name for _, name in wanted_options] else None

    def _say(self, text: str, tone: str) -> None:
        self.note = text
        # What a thread finds out stands among the problems; under the control with the next change.
        if self._words is None and text and not self._session.unasked:
            self._words = Words("", "small", "note")
            self.widget.children = (self._entry, self._words)
        if self._words is not None:
            self._words.say(text, tone)


def show_settings(session: Session, controls: Iterable[SettingControl]) -> None:
    """Has controls show their values, with the first and so the worst problem of each."""
    bench, scope = session.bench, session.scope
    first: dict[str, Problem] = {}
    for problem in session.problems:
        first.setdefault(problem.path, problem)
    from_preset = bench.preset.values_for(bench.family) if bench.preset else {}
    for one in controls:
        path = one.field.path
        source = bench.draft.source_of(path)
        origin = "preset" if source is Source.PREFILL and path in from_preset else SOURCE_WORDS[source]
        if path in PART_PATHS:
            origin = {Source.PREFILL: "found here", Source.DEFAULT: ""}.get(source, origin)
        one.show(scope, source, origin, first.get(path))
        hint(one.source, str(bench.origin(path)))
