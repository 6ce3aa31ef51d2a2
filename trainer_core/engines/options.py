"""An engine's own options, as recorded from its parser: their names, and the values that they accept.

Both engines silently accept wrong names and types in their configuration, so Easel checks them before it writes one.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from trainer_core import places
from trainer_core.engines import option_rules
from trainer_core.engines.option_rules import Decisions, OptionRules
from trainer_core.problems import Problem
from trainer_core.text import nearest, plain_number

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest

COMMON = "common.json"
"""The file with the options that all programs of an engine share."""

LAUNCHER = "accelerate_launch"
"""The record of the launcher that an engine may be started with."""

_TYPE_NAMES = {
    "str": "text",
    "path": "text",
    "int": "a whole number",
    "float": "a number",
    "int_or_float": "a number",
    "bool": "true or false",
}


@dataclass(frozen=True)
class Option:
    """One option: `type` is a key of `_TYPE_NAMES` or "any", `many` means a list, `choices` are the only allowed values.

    `families` are the model families that have the option, by the engine's names; empty means all.
    """

    type: str
    many: bool = False
    choices: tuple[Any, ...] = ()
    default: Any = None
    families: tuple[str, ...] = ()

    def complaint(self, value: Any) -> str | None:
        """What is wrong with a value, as the rest of a sentence; None if it is valid."""
        if self.many:
            if not isinstance(value, list | tuple):
                return f"must be a list, not {value!r:.80}"
            return next((found for item in value if (found := self._item_complaint(item))), None)
        return self._item_complaint(value)

    def _item_complaint(self, value: Any) -> str | None:
        if self.type != "any" and not _fits(self.type, value):
            return f"must be {_TYPE_NAMES.get(self.type, self.type)}, not {value!r:.80}"
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
    if kind == "int":
        return isinstance(value, int)
    # Some options may be without end, and none is no number.
    return isinstance(value, int | float) and value == value  # noqa: PLR0124


@dataclass(frozen=True)
class EngineOptions:
    """All options of one program.

    `program` is its name in sentences, `version` the recorded commit or version, `name` the name of the record.
    """

    program: str
    version: str
    options: Mapping[str, Option]
    name: str = ""

    def complaint(self, name: str, value: Any) -> str | None:
        """The sentence that says why this name or value is not valid; None if it is."""
        option = self.options.get(name)
        if option is None:
            return self.unknown(name)
        found = option.complaint(value)
        return f"{name} {found}." if found else None

    def unknown(self, name: str) -> str:
        """The sentence for an unknown name, with the option that was probably meant."""
        close = nearest(name, self.options)
        meant = f" Did you mean {close}?" if close else ""
        return f"{self.program} has no option {name!r:.80}.{meant}"

    def complaints(self, values: Mapping[str, Any]) -> list[str]:
        """The sentences for all names and values that are not valid."""
        return [found for name, value in values.items() if (found := self.complaint(name, value))]


def native_problems(
    engine: str,
    settings: Mapping[str, Any],
    rules: OptionRules,
    options: EngineOptions,
    launcher: EngineOptions | None = None,
    family: str = "",
) -> Iterator[Problem]:
    """The Problems of native settings.

    `rules` is the engine's `options.toml`, `options` are those of its program, `launcher` those of `accelerate launch`,
    which starts the program if there is a table `launch`. `family` is the model family by the engine's name.
    """
    for name, value in settings.items():
        path = f"native.{engine}.{name}"
        if name != "launch" or launcher is None:
            yield from _problem(path, name, value, rules, options, family)
        elif not isinstance(value, Mapping):
            yield Problem(path, "error", "launch must be a table: [native." + engine + ".launch].")
        else:
            for inner, given in value.items():
                yield from _problem(f"{path}.{inner}", inner, given, rules.launch, launcher, family)


def _problem(
    path: str, name: str, value: Any, rules: Decisions, options: EngineOptions, family: str
) -> Iterator[Problem]:
    families = options.options[name].families if name in options.options else ()
    decision = option_rules.decide(rules, name, options.name, families, frozenset({family}) if family else frozenset())
    if decision.kind == "owned":
        said = (
            f"{name} follows from {decision.reason}: change that one."
            if decision.reason
            else f"{name} cannot be set: Easel determines it, and no setting changes it."
        )
        yield Problem(path, "error", said)
    elif decision.kind == "refused":
        yield Problem(path, "error", f"{name} cannot be set: {decision.reason}")
    elif name not in options.options:
        yield Problem(path, "error", options.unknown(name))
    elif decision.kind in ("ignored", "other family"):
        yield Problem(path, "error", f"{name} has no effect here: {decision.reason}")
    elif complaint := options.complaint(name, value):
        yield Problem(path, "error", complaint)
    elif outside := _outside(rules.bounds.get(name), value):
        yield Problem(path, "error", f"{name} {outside}")
    elif name in rules.weights and not _all_safetensors(value):
        message = (
            f"{name} must be a .safetensors file: older formats can contain code, which runs when they are loaded."
        )
        yield Problem(path, "error", message)


def _outside(bounds: Sequence[float] | None, value: Any) -> str:
    """Why a number or a list of numbers is outside its bounds, as the rest of a sentence; "" if it is not."""
    values = value if isinstance(value, list | tuple) else [value]
    if bounds is None or all(bounds[0] <= each <= bounds[1] for each in values):
        return ""
    return f"must be from {plain_number(bounds[0], 12)} to {plain_number(bounds[1], 12)}, not {value!r:.40}."


def _all_safetensors(value: Any) -> bool:
    files = value if isinstance(value, list | tuple) else [value]
    return all(str(file).endswith(".safetensors") for file in files)


def load(path: Path) -> EngineOptions:
    """The options recorded in a JSON file: {"program", "version", "common", "options": {name: {"type", ...}}}.

    `common` means that the options in `common.json` in the same folder also belong to this program.

    Raises:
        OSError, ValueError, LookupError, TypeError: the file is missing or has another format.
    """
    return _loaded(path, path.stat().st_mtime_ns)


@functools.cache
def shipped(path: Path) -> EngineOptions:
    """The options in a record that comes with a backend: it does not change, so it is read only once."""
    return load(path)


@functools.cache
def _loaded(path: Path, _written: int) -> EngineOptions:
    """As `load`; a file that has changed is read again."""
    data = json.loads(path.read_text(encoding="utf-8"))
    options = {name: _option(entry) for name, entry in data["options"].items()}
    if data.get("common"):
        options |= load(path.with_name(COMMON)).options
    return EngineOptions(data["program"], data["version"], options, path.stem)


def of_program(manifest: BackendManifest, family: str, method: str, version: str = "") -> EngineOptions | None:
    """The recorded options of the program that trains a family by a method; None if the engine records none.

    An engine with a single program has a record for each of its versions: that of the installed one, or of the preferred one.
    """
    claim = manifest.families.get(family)
    if claim is None or method not in claim.methods:
        return None
    named = PurePosixPath(claim.methods[method].program).stem
    preferred = manifest.environment[0].version if manifest.environment else ""
    for name in (named,) if named else (version, preferred):
        if name and (file := manifest.schema / f"{name}.json").is_file():
            return shipped(file)
    return None


def of_launcher(manifest: BackendManifest) -> EngineOptions | None:
    """The recorded options of the launcher that an engine can be started with; None if it records none."""
    file = manifest.schema / f"{LAUNCHER}.json"
    return shipped(file) if file.is_file() else None


def takes_many(manifest: BackendManifest, name: str) -> bool:
    """Whether an option is a list in the records of an engine's programs."""
    files = sorted(manifest.schema.glob("*.json"))
    found = (shipped(file).options[name] for file in files if name in shipped(file).options)
    return next((option.many for option in found), True)


def dump_folder(engine: str) -> Path:
    """The folder with the recorded options of an installed engine: see `trainer_core.install.environments.record_options`."""
    return places.engines() / engine / "schema"


def _option(entry: Mapping[str, Any]) -> Option:
    return Option(
        type=entry["type"],
        many=bool(entry.get("many")),
        choices=tuple(entry.get("choices", ())),
        default=entry.get("default"),
        families=tuple(entry.get("families", ())),
    )
