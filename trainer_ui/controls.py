"""One control for each setting, derived from its declaration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_core.draft.layers import Source
from trainer_core.plan import fields
from trainer_core.plan.subsets import LIST
from trainer_core.prepare import provenance
from trainer_ui import browsing
from trainer_ui.browse import Browse
from trainer_ui.explaining import explanation
from trainer_ui.formatting import Paragraph, show
from trainer_ui.widgets import Box, Button, Checkbox, Dropdown, IntText, Text, VBox, Widget

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainer_core.draft.relevance import Scope
    from trainer_core.plan.fields import SettingField
    from trainer_core.problems import Problem
    from trainer_ui.session import Session

SOURCE_TITLES = {
    Source.DEFAULT: "default",
    Source.RECOMMENDED: "recommended",
    Source.PROFILE: "profile",
    Source.PREFILL: "computed",
    Source.USER: "yours",
}
TONES = {"error": "danger", "warning": "warn", "info": "muted"}
EMPTY = "default"
"""What an empty control shows: the engine uses its default."""
NO_SOURCE = "empty"
"""The source of a companion file that is neither set nor found."""
EXAMPLE = "/path/to/file.safetensors"


def label(field: SettingField) -> str:
    """The label above a control: title and unit."""
    return f"{field.title} ({field.unit})" if field.unit else field.title


def bounds(field: SettingField) -> str:
    """The bounds and the default of a setting, for its help; "" if it has neither."""
    low, high, default = field.minimum, field.maximum, field.default
    texts = [f"From {_plain_bound(low)} to {_plain_bound(high)}." if low is not None and high is not None else ""]
    if is_box(field):
        texts.append(f"Default: {'on' if default else 'off'}.")
    elif default not in (None, "") and not isinstance(default, bool):
        texts.append(f"Default: {plain_number(default) if isinstance(default, float) else default}.")
    return " ".join(filter(None, texts))


def help_of(path: str) -> tuple[str, str]:
    """The help of a setting: what it does, and its bounds."""
    field = fields.all_fields()[path]
    return field.doc, bounds(field)


def _plain_bound(bound: float) -> str:
    return f"{int(bound):,}" if bound == int(bound) else f"{bound:g}"


def choice_title(path: str, name: str) -> str:
    """The title of one choice of a setting."""
    field = fields.all_fields()[path]
    entry = field.chooses.get(name)
    return entry.title if entry else field.about.titles.get(name, name) or field.about.empty


def value_text(path: str, value: Any) -> str:
    """A value of a setting for people."""
    field = fields.all_fields()[path]
    if field.is_list:
        what = "folders" if path == LIST else "prompts"
        return f"{len(value)} {what}" if value else "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "default"
    return plain_number(value) if isinstance(value, float) else choice_title(path, str(value)) or "none"


def is_wide(field: SettingField) -> bool:
    """Whether a setting has long text or a description below its control, and takes the full width."""
    return bool(field.about.path or field.about.prompt or field.chooses)


def placeholder(field: SettingField) -> str:
    """The text in an empty text field: the meaning of an empty value, or an example."""
    return EXAMPLE if field.about.part else field.about.empty


def is_switch(field: SettingField) -> bool:
    """Whether a setting has three values: on, off, and the default of the engine."""
    return field.base_type is bool and field.optional


def is_box(field: SettingField) -> bool:
    """Whether the control of a setting is a checkbox."""
    return field.base_type is bool and not field.optional


def is_typed(field: SettingField) -> bool:
    """Whether a setting is typed as text: a float, so that it can be written as 1e-4, and a number that may be empty."""
    return not field.choices and (field.base_type is float or (field.base_type is int and field.optional))


def shown(field: SettingField, value: Any) -> Any:
    """A value in the form that its control has; an empty value is ""."""
    if value is None and field.optional:
        return ""
    if is_switch(field) and isinstance(value, bool):
        return "on" if value else "off"
    if is_typed(field) and isinstance(value, int | float) and not isinstance(value, bool):
        return plain_number(value)
    if field.base_type is int and not field.choices and not field.optional:
        return value if isinstance(value, int) else 0
    if field.is_list:
        return fields.to_text(field.path, value)
    return value if is_box(field) else str(value)


def plain_number(value: float) -> str:
    """A number as people write it: 0.01, 1e-4, 7."""
    text = f"{value:.10g}"
    if 0 < abs(value) < 0.001:
        mantissa, _, power = f"{value:.9e}".partition("e")
        text = f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}"
    return text


def parsed(field: SettingField, entered: Any) -> Any:
    """The entered value in the form that the draft has; text that is not a number stays text, and the draft reports it."""
    if is_typed(field) or is_switch(field) or field.is_list:
        return fields.from_text(field.path, str(entered).strip())[0]
    return entered


def options(field: SettingField, scope: Scope) -> list[tuple[str, str]]:
    """The options of a dropdown, as (title, value). A current choice that is not possible is included, with the reason."""
    if is_switch(field):
        default = scope.default(field.path)
        return [
            (EMPTY if default is None else f"{EMPTY} ({'on' if default else 'off'})", ""),
            ("on", "on"),
            ("off", "off"),
        ]
    titles = ((choice_title(field.path, name), name, why) for name, why in scope.choices(field.path).items())
    return [(f"{title} ({why})" if why else title, name) for title, name, why in titles]


def control(field: SettingField) -> Widget:
    """A control that fits the type of the setting. No control silently changes a value that is out of bounds."""
    name = label(field)
    if field.choices or is_switch(field):
        found: Widget = Dropdown(description=name)
    elif is_box(field):
        found = Checkbox(description=name, indent=False)
    elif field.base_type is int and not is_typed(field):
        found = IntText(description=name)
    else:
        found = Text(description=name, placeholder=placeholder(field), continuous_update=False)
    return found


def browse(session: Session, field: SettingField) -> Browse:
    """The button that chooses a path for a setting."""
    return Browse(
        session,
        field.title,
        lambda path: session.change({field.path: path}),
        lambda: session.values[field.path],
        wants={"folder": "folder", "file or folder": "either"}.get(field.about.path, "file"),
        extensions=browsing.MODELS if field.about.part else (),
    )


class Reason:
    """Why a setting has its value, and a button that removes the user's own."""

    def __init__(self, session: Session, path: str) -> None:
        self.text = Paragraph("", "small")
        self.reset = Button(description="Remove my value", classes=("easel-small",))
        self.reset.on_click(session.handler(lambda _: session.reset(path)))
        self.widget = VBox([self.text, self.reset], classes=("easel-reason",))

    def show(self, why: str, is_mine: bool) -> None:
        """Shows the reason, and the button if the value is the user's own."""
        self.text.show_text(why)
        show(self.reset, is_mine)


class SettingControl:
    """A setting on the page: its control, its help, a button that names the source of its value, and a note.

    The button opens the reason of the value.
    """

    def __init__(self, session: Session, field: SettingField) -> None:
        self.field = field
        self.control: Any = control(field)
        self.source = Button(classes=("easel-source",))
        self.source.on_click(session.handler(lambda _: self._ask()))
        self.reason: Reason | None = None
        self.is_asked = False
        """Whether the reason is open."""
        self.note = ""
        """The text under the control."""
        self._paragraph: Paragraph | None = None
        wide = ("easel-wide",) if is_wide(field) else ()
        parts = [self.control, explanation(field.doc, bounds(field)), self.source]
        if field.about.path:
            parts.append(browse(session, field).widget)
        self.widget = Box(parts, classes=("easel-setting", *wide))
        self._session = session
        self.control.observe(session.handler(self._entered), "value")

    def _ask(self) -> None:
        """Opens or closes the reason of the value; it is made when it is first opened."""
        if self.reason is None:
            self.reason = Reason(self._session, self.field.path)
            self.widget.children = (*self.widget.children, self.reason.widget)
        self.is_asked = not self.is_asked
        (self.widget.add_class if self.is_asked else self.widget.remove_class)("easel-asked")

    def _entered(self, entered: Any) -> None:
        self._session.change({self.field.path: parsed(self.field, entered)})
        # The page may show an older value, if a profile was chosen just before. This sends the current value.
        self.control.send_state("index" if isinstance(self.control, Dropdown) else "value")

    def set_visible(self, is_visible: bool) -> None:
        """Shows or hides the setting."""
        show(self.widget, is_visible)

    def show(self, scope: Scope, source: Source, origin: str, why: str, problem: Problem | None) -> None:
        """Shows the value, its source, and a note about it."""
        value = scope.values[self.field.path]
        wanted = shown(self.field, value)
        if isinstance(self.control, Dropdown):
            wanted = self._set_options(options(self.field, scope), wanted)
        elif is_typed(self.field) and self.field.optional:
            default = scope.default(self.field.path)
            self.control.placeholder = EMPTY if default is None else plain_number(default)
        if self.control.value != wanted:
            self.control.value = wanted
        self.source.description = origin or NO_SOURCE
        if self.reason is not None:
            self.reason.show(f"This value comes from {why}.".replace("..", "."), source is Source.USER)
        (self.widget.add_class if source is Source.USER else self.widget.remove_class)("easel-yours")
        entry = self.field.chooses.get(value) if isinstance(value, str) else None
        # An empty field needs no explanation.
        if problem is not None and value != "":
            self._show_note(problem.message, TONES[problem.severity])
        else:
            self._show_note(entry.doc if entry else "", "muted")

    def _set_options(self, wanted_options: list[tuple[str, str]], value: Any) -> Any:
        """Sets the options of the dropdown, and returns its value: None if `value` is not one of them."""
        if tuple(wanted_options) != tuple(self.control.options):
            self.control.options = wanted_options
        return value if value in [name for _, name in wanted_options] else None

    def _show_note(self, text: str, tone: str) -> None:
        self.note = text
        # Threads must not create widgets. The list of problems shows the text now, and this note after the next change.
        if self._paragraph is None and text and not self._session.unasked:
            self._paragraph = Paragraph("", "small", "note")
            self.widget.children = (*self.widget.children, self._paragraph)
        if self._paragraph is not None:
            self._paragraph.show_text(text, tone)


def show_settings(session: Session, controls: Iterable[SettingControl]) -> None:
    """Shows the values of the controls, each with its first Problem, which is the most severe."""
    state, scope = session.bench.state, session.scope
    first: dict[str, Problem] = {}
    for problem in session.problems:
        first.setdefault(problem.path, problem)
    for one in controls:
        path = one.field.path
        source = state.draft.source_of(path)
        origin = (
            "preset" if source is Source.PREFILL and provenance.is_from_preset(state, path) else SOURCE_TITLES[source]
        )
        if one.field.about.part:
            origin = {Source.PREFILL: "found here", Source.DEFAULT: ""}.get(source, origin)
        one.show(scope, source, origin, str(provenance.of(state, path)), first.get(path))
