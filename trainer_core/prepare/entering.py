"""What a user enters for a setting, as text: read in the type of the setting or of the engine's option, and put into the job.

Text that cannot be read stays text, so that nothing is lost; the checks of the job then say what is wrong with it.
"""

from __future__ import annotations

import shlex
import tomllib
from typing import TYPE_CHECKING, Any

from trainer_core.plan import fields
from trainer_core.prepare.native import own_native, set_native

if TYPE_CHECKING:
    from trainer_core.engines.options import Option
    from trainer_core.prepare.workbench import Workbench

__all__ = ["OFF", "ON", "number", "of_option", "of_setting", "own_native", "reset", "set_native", "shown", "toml_value"]
ON, OFF = "on", "off"
_SWITCHES = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}


def shown(value: Any) -> str:
    """A value as a user writes it; "" for an empty one."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return ON if value else OFF
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list | tuple):
        return " ".join(shlex.quote(shown(each)) for each in value)
    return str(value)


def number(value: float) -> str:
    """A number as people write it: 0.01, 1e-4, 7."""
    if 0 < abs(value) < 0.001:
        mantissa, _, power = f"{value:.9e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}"
    return f"{value:.10g}"


def of_setting(path: str, entered: str | bool) -> Any:
    """What was entered for a setting of the plan."""
    if isinstance(entered, bool):
        return entered
    field = fields.all_fields()[path]
    # A prompt or a name keeps its spaces; of a number they are removed.
    is_text = field.base_type is str and not field.choices
    return fields.from_text(path, entered if is_text else entered.strip())[0]


def of_option(option: Option, entered: str | bool) -> Any:
    """What was entered for an option of an engine; several values are separated by spaces, as in a terminal, or a TOML list."""
    if isinstance(entered, bool):
        return entered
    text = entered.strip()
    if not option.many:
        return _item(option.type, text)
    if text.startswith("["):
        return toml_value(text)
    try:
        words = shlex.split(text)
    except ValueError:
        return text
    return [_item(option.type, word) for word in words]


def _item(kind: str, text: str) -> Any:
    """One value in the type of an option; the text itself if it has another form."""
    if kind == "bool":
        return _SWITCHES.get(text.lower(), text)
    if kind in ("int", "float", "int_or_float"):
        return _number(kind, text)
    return toml_value(text) if kind == "any" else text


def _number(kind: str, text: str) -> Any:
    for read in (int, float) if kind != "float" else (float,):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def toml_value(text: str) -> Any:
    """The text read as a TOML value (a number, true, a list, a quoted text); anything else is plain text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def reset(bench: Workbench, path: str) -> None:
    """Removes the user's value of a setting of the plan or of a native one."""
    if not path.startswith("native."):
        bench.reset(path)
        return
    from trainer_core.prepare import argument_rows

    inside = argument_rows.entered(bench, path, None)
    changed = (set_native(bench, path, None) if inside is None else inside)["native"]
    kept = {engine: table for engine, table in changed.items() if table}
    if kept:
        bench.set({"native": kept})
    else:
        bench.reset("native")
