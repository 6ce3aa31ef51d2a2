"""An engine's own options, as recorded from its parser: what names there are, and what values they take.

Both engines accept a wrong name or type in their configuration without a word, so Easel checks before it writes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """All options of one program. `program` is its name for sentences, `version` the commit or version recorded."""

    program: str
    version: str
    options: Mapping[str, Option]

    def complaint(self, name: str, value: Any) -> str | None:
        """The sentence why this name or value would not be understood; None when it would."""
        option = self.options.get(name)
        if option is None:
            return f"{self.program} has no option {name!r:.80}."
        found = option.complaint(value)
        return f"{name} {found}." if found else None

    def complaints(self, values: Mapping[str, Any]) -> list[str]:
        """The sentences for all values that would not be understood."""
        return [found for name, value in values.items() if (found := self.complaint(name, value))]


def native_problems(
    engine: str, settings: Mapping[str, Any], rules: Mapping[str, Any], options: EngineOptions
) -> Iterator[Problem]:
    """What is wrong with settings in an engine's own words.

    `rules` is the `[native]` table of its `backend.toml`: `owned` keys follow from a setting of the plan, `refused` ones
    have a reason; every other must be known to `options`, with its type.
    """
    for name, value in settings.items():
        path = f"native.{engine}.{name}"
        if name in rules.get("owned", ()):
            yield Problem(path, "error", f"{name} follows from a setting of the plan: change that one.")
        elif reason := rules.get("refused", {}).get(name):
            yield Problem(path, "error", f"{name} cannot be set: {reason}")
        elif complaint := options.complaint(name, value):
            yield Problem(path, "error", complaint)


@functools.cache
def load(path: Path) -> EngineOptions:
    """The options recorded in a JSON file: {"program", "version", "common", "options": {name: {"type", ...}}}.

    `common` says that the options in `common.json` beside it belong to this program too. Source: engine_dump.py.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    options = {name: _option(entry) for name, entry in data["options"].items()}
    if data.get("common"):
        options |= load(path.with_name(COMMON)).options
    return EngineOptions(data["program"], data["version"], options)


def _option(entry: Mapping[str, Any]) -> Option:
    return Option(
        type=entry["type"],
        many=bool(entry.get("many")),
        choices=tuple(entry.get("choices", ())),
        default=entry.get("default"),
        families=tuple(entry.get("families", ())),
    )
