"""An engine's own options, as recorded from its parser: what names there are, and what values they take.

Both engines accept a wrong name or type in their configuration without a word, so Easel checks before it writes.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import option_rules, places
from trainer_core.problems import Problem

COMMON = "common.json"
"""What all programs of an engine share."""

_WORDS = {
    "str": "text",
    "path": "text",
    "int": "a whole number",
    "float": "a number",
    "int_or_float": "a number",
    "bool": "true or false",
}


@dataclass(frozen=True)
class Option:
    """One option: `type` is a key of `_WORDS` or "any", `many` when it takes a list, `choices` when only some values.

    `families` are the model families that have it, in the engine's words; empty means all.
    """

    type: str
    many: bool = False
    choices: tuple[Any, ...] = ()
    default: Any = None
    families: tuple[str, ...] = ()

    def complaint(self, value: Any) -> str | None:
        """What is wrong with a value, as the rest of a sentence; None when nothing is."""
        if self.many:
            if not isinstance(value, list | tuple):
                return f"must be a list, not {value!r:.80}"
            return next((found for item in value if (found := self._item_complaint(item))), None)
        return self._item_complaint(value)

    def _item_complaint(self, value: Any) -> str | None:
        if self.type != "any" and not _fits(self.type, value):
            return f"must be {_WORDS.get(self.type, self.type)}, not {value!r:.80}"
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(str(choice) for choice in self.choices if choice is not None)}, not {value!r:.80}"
        return None


def _fits(kind: str, value: Any) -> bool:
    if kind in ("str", "path"):
        return isinstance(value, str)
    if kind == "bool":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    return isinstance(value, int) if kind == "int" else isinstance(value, int | float)


@dataclass(frozen=True)
class EngineOptions:
    """All options of one program.

    `program` is its name for sentences, `version` the commit or version recorded, `name` that of the record.
    """

    program: str
    version: str
    options: Mapping[str, Option]
    name: str = ""

    def complaint(self, name: str, value: Any) -> str | None:
        """The sentence why this name or value would not be understood; None when it would."""
        option = self.options.get(name)
        if option is None:
            return self.unknown(name)
        found = option.complaint(value)
        return f"{name} {found}." if found else None

    def unknown(self, name: str) -> str:
        """The sentence for a name that is no option, with the one that was probably meant."""
        close = difflib.get_close_matches(name, self.options, n=1, cutoff=0.75)
        meant = f" Perhaps {close[0]} is meant." if close else ""
        return f"{self.program} has no option {name!r:.80}.{meant}"

    def complaints(self, values: Mapping[str, Any]) -> list[str]:
        """The sentences for all values that would not be understood."""
        return [found for name, value in values.items() if (found := self.complaint(name, value))]


def native_problems(
    engine: str,
    settings: Mapping[str, Any],
    rules: Mapping[str, Any],
    options: EngineOptions,
    launcher: EngineOptions | None = None,
    family: str = "",
) -> Iterator[Problem]:
    """What is wrong with settings in an engine's own words.

    `rules` is its `options.toml`, `options` what its program takes, `launcher` what `accelerate launch` takes, which
    starts the program when there is a table `launch`. `family` is the model family in the engine's words.
    """
    for name, value in settings.items():
        path = f"native.{engine}.{name}"
        if name != "launch" or launcher is None:
            yield from _problem(path, name, value, rules, options, family)
        elif not isinstance(value, Mapping):
            yield Problem(path, "error", "launch is a table: [native." + engine + ".launch].")
        else:
            for inner, given in value.items():
                yield from _problem(f"{path}.{inner}", inner, given, rules.get("launch", {}), launcher, family)


def _problem(
    path: str, name: str, value: Any, rules: Mapping[str, Any], options: EngineOptions, family: str
) -> Iterator[Problem]:
    families = options.options[name].families if name in options.options else ()
    decision = option_rules.decide(rules, name, options.name, families, frozenset({family}) if family else frozenset())
    if decision.kind == "owned":
        yield Problem(path, "error", f"{name} follows from a setting of the plan: change that one.")
    elif decision.kind == "refused":
        yield Problem(path, "error", f"{name} cannot be set: {decision.reason}")
    elif name not in options.options:
        yield Problem(path, "error", options.unknown(name))
    elif decision.kind in ("ignored", "other family"):
        yield Problem(path, "error", f"{name} is of no use here: {decision.reason}")
    elif complaint := options.complaint(name, value):
        yield Problem(path, "error", complaint)
    elif outside := _outside(rules.get("bounds", {}).get(name), value):
        yield Problem(path, "error", f"{name} {outside}")
    elif name in rules.get("weights", ()) and not _all_safetensors(value):
        message = f"{name} must be a .safetensors file: the older formats can hold programs, which loading would start."
        yield Problem(path, "error", message)


def _outside(bounds: Sequence[float] | None, value: Any) -> str:
    """What is wrong with a number or a list of them by its bounds, as the rest of a sentence; "" when nothing is."""
    values = value if isinstance(value, list | tuple) else [value]
    if bounds is None or all(bounds[0] <= each <= bounds[1] for each in values):
        return ""
    return f"must be from {bounds[0]:g} to {bounds[1]:g}, not {value!r:.40}."


def _all_safetensors(value: Any) -> bool:
    files = value if isinstance(value, list | tuple) else [value]
    return all(str(file).endswith(".safetensors") for file in files)


def load(path: Path) -> EngineOptions:
    """The options recorded in a JSON file: {"program", "version", "common", "options": {name: {"type", ...}}}.

    `common` says that the options in `common.json` beside it belong to this program too. Source: engine_dump.py.

    Raises:
        OSError, ValueError, LookupError, TypeError: it is not there, or no such file.
    """
    return _loaded(path, path.stat().st_mtime_ns)


@functools.cache
def _loaded(path: Path, _written: int) -> EngineOptions:
    """As `load`; a file that was written again is read again."""
    data = json.loads(path.read_text(encoding="utf-8"))
    options = {name: _option(entry) for name, entry in data["options"].items()}
    if data.get("common"):
        options |= load(path.with_name(COMMON)).options
    return EngineOptions(data["program"], data["version"], options, path.stem)


def dump_folder(engine: str) -> Path:
    """Where an installed engine's own options are recorded, at its installation and when it is verified."""
    return places.engines() / engine / "schema"


def _option(entry: Mapping[str, Any]) -> Option:
    return Option(
        type=entry["type"],
        many=bool(entry.get("many")),
        choices=tuple(entry.get("choices", ())),
        default=entry.get("default"),
        families=tuple(entry.get("families", ())),
    )
