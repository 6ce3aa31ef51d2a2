"""What the readers of pasted commands share: the state of reading, values in their types, lists of key=value, and items."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainer_core.engines import python_literal
from trainer_core.engines.claim import Cell
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.option_rules import decide
from trainer_core.engines.options import EngineOptions, Option
from trainer_core.engines.pasted import BEYOND, Files, Item, Kind, shown, variable_in
from trainer_core.plan import fields

VARIABLE = "its value is a variable of the shell, which Easel does not know."
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class Read:
    """A command that is being read: the family and method of its program, the program's options, and those that are given.

    The engine steps its schedule once for each of its `processes`.
    """

    manifest: BackendManifest
    family: str
    method: str
    record: EngineOptions
    given: Mapping[str, Any]
    files: Files
    processes: int = 1

    @property
    def cell(self) -> Cell:
        """What the engine supports for the family and method."""
        return self.manifest.families[self.family].cell(self.method)

    def value(self, name: str) -> Any:
        """The value of an option: as given, else the engine's default."""
        option = self.record.options.get(name)
        return self.given.get(name, option.default if option else None)


def typed(option: Option, value: Any) -> Any:
    """A value in the type of its option; as it is if it has another form."""
    if option.many:
        values = value if isinstance(value, list) else [] if value is True else [value]
        return [_typed(option, each) for each in values]
    if isinstance(value, list):
        return " ".join(map(str, value)) if option.type in ("str", "path") else value
    return _typed(option, value)


def _typed(option: Option, value: Any) -> Any:
    if option.type == "int" and isinstance(value, float) and value.is_integer():
        return int(value)  # as the kohya GUI saves whole numbers
    if not isinstance(value, str):
        return value
    if option.type == "bool":
        return _WORDS.get(value.lower(), value)
    for kind, read in (("int", int), ("float", float), ("int_or_float", int), ("int_or_float", float)):
        if option.type == kind:
            try:
                found = read(value)
            except ValueError:
                continue
            if isinstance(found, float) or abs(found) < BEYOND:
                return found
    return value


def misfit(option: Option, value: Any) -> str:
    """What is wrong with the type of a value, as the rest of a sentence; "" if nothing is. A configuration may have a number for a text."""
    if value is None or (option.type in ("str", "path") and not isinstance(value, bool | dict)):
        return ""
    return replace(option, choices=()).complaint(value) or ""


def item(read: Read, name: str, kind: Kind, path: str, value: Any, reason: str = "") -> Item:
    """What becomes of an option."""
    return Item(name, shown(read.value(name)), kind, path, value, reason, is_default=name not in read.given)


def same(read: Read, name: str, reason: str) -> Item:
    """An option of which Easel takes care by itself."""
    return item(read, name, "same", "", None, reason)


def refused(read: Read, name: str, reason: str) -> Item:
    """An option that cannot be used."""
    return item(read, name, "refused", "", None, reason)


def direct(read: Read, name: str, path: str, value: Any) -> Iterator[Item]:
    """An option that becomes a setting with the same value; a default of the engine only where Easel has another one."""
    field = fields.all_fields()[path]
    is_default = name not in read.given
    if field.about.path and isinstance(value, str):
        value = value.strip()
    found, problem = fields.check(path, value)
    if problem:
        if not is_default:
            yield refused(read, name, problem)
    elif not is_default or (found != field.default and field.default is not None):
        yield item(read, name, "setting", path, found)


SIDE_STEP = 16
"""The sides of images are multiples of this in most families."""


def resolution(read: Read, name: str, value: Any) -> Iterator[Item]:
    """A resolution as one number, or as width and height; of these the side of a square with their area."""
    if (side := side_of(value)) is not None:
        yield from direct(read, name, "dataset.resolution", side)
        return
    sides = [int(each) for each in re.findall(r"\d+", str(value)) if len(each) < 7]
    side = round(math.sqrt(math.prod(sides)) / SIDE_STEP) * SIDE_STEP if len(sides) == 2 else None
    found, problem = fields.check("dataset.resolution", side)
    if side is None or problem:
        yield refused(read, name, "Easel takes one side: images are scaled to the area of a square with it.")
    else:
        reason = f"Easel takes one side: a square with it has the area of {sides[0]} x {sides[1]}, and images keep their own shapes."
        yield item(read, name, "setting", "dataset.resolution", found, reason)


def pairs_in(value: Any) -> dict[str, str]:
    """{key: text} of a list of key=value."""
    parts = [str(entry).partition("=") for entry in value or ()]
    return {key.strip(): text.strip() for key, _, text in parts}


def checked(read: Read, option: str, key: str, text: Any, path: str, value: Any) -> Iterator[Item]:
    """What becomes of one key inside an option that follows from a setting."""
    found, problem = fields.check(path, value)
    name = f"{option} {key}"
    is_default = option not in read.given
    if problem:
        yield Item(name, shown(text), "refused", reason=problem)
    elif not is_default or found != fields.all_fields()[path].default:
        yield Item(name, shown(text), "setting", path, found, is_default=is_default)


def literal(text: str) -> Any:
    """A text in Python's notation as a value; the text itself if it is none, with true and false also in lower case."""
    if text.lower() in ("true", "false", "none"):
        return {"true": True, "false": False}.get(text.lower())
    try:
        return python_literal.value_of(text)
    except ValueError:
        return text


def side_of(value: Any) -> int | None:
    """The side of a square resolution, such as 768, "768,768" or [768, 768]; None for another one."""
    sides = re.findall(r"\d+", str(value))
    is_one = len(sides) in (1, 2) and sides[0] == sides[-1] and len(sides[0]) < 10
    return int(sides[0]) if is_one else None


def of_type(path: str, text: str) -> Any:
    """A text in the type of a setting, as far as it has it: a whole number also for a fraction."""
    found = literal(text)
    if isinstance(found, int) and abs(found) >= BEYOND:
        return text
    return float(found) if fields.all_fields()[path].base_type is float and isinstance(found, int) else found


def named(
    given: Mapping[str, Any], record: EngineOptions, described: Mapping[str, Option]
) -> tuple[dict[str, Any], list[Item]]:
    """The options by their full names, with values in their types, and those that neither the program nor a dataset has."""
    found: dict[str, Any] = {}
    wrong: list[Item] = []
    for short, value in given.items():
        begun = [name for name in record.options if name.startswith(short)]
        # argparse accepts the beginning of a name if it is unique.
        name = short if short in record.options or len(begun) != 1 else begun[0]
        option = record.options.get(name) or described.get(name)
        if name != short and name in given:
            wrong.append(Item(short, shown(value), "refused", reason=f"{name} is given in full."))
        elif variable_in(value):
            wrong.append(Item(short, shown(value), "refused", reason=VARIABLE))
        elif option is None:
            wrong.append(Item(short, shown(value), "refused", reason=record.unknown(name)))
        elif problem := misfit(option, read_value := typed(option, value)):
            wrong.append(Item(short, shown(value), "refused", reason=f"{name} {problem}."))
        else:
            found[name] = read_value
    return found, wrong


def native(read: Read, name: str, value: Any) -> Item:
    """What becomes of an option from which no setting follows."""
    families = frozenset({read.cell.model_family}) if read.cell.model_family else frozenset()
    option = read.record.options.get(name)
    decision = decide(read.manifest.options, name, read.record.name, option.families if option else (), families)
    if value is False:
        return same(read, name, "it is off.")
    if decision.kind == "native":
        return item(read, name, "native", f"native.{read.manifest.id}.{name}", value)
    if name == "resume":
        return refused(read, name, "a run continues from a state of its own: use easel runs resume.")
    if decision.kind == "owned":
        return same(read, name, "Easel determines it.")
    return refused(read, name, decision.reason or "Easel does not know this option.")


def unsaid(read: Read, name: str) -> list[Item]:
    """The item of a given option from which nothing follows here."""
    if name not in read.given:
        return []
    value = read.given[name]
    if value is None or value is False or value == []:
        return [same(read, name, "it is off.")]
    return [refused(read, name, f"nothing reads it in a run of this kind ({read.record.program}).")]
