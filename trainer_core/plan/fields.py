"""The settings by dotted path: the declarations of `sections` and `results` as flat data for controls, options, profiles and docs."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType, NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from trainer_core import catalog
from trainer_core.plan import images, prompts, results, sections, subsets
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.setting import Setting

LONG_TEXT = 200
# A class, a setting of it, or a docstring below one of them. To parse the module as Python takes 5 ms, this takes 0.3 ms.
_DECLARATION = re.compile(
    r'^class (?P<section>\w+)|^    (?P<name>\w+): |^    """(?P<doc>.*?)"""', re.MULTILINE | re.DOTALL
)


SECTIONS = {
    "model": "Model",
    "dataset": "Images",
    "network": "Network",
    "embedding": "New word",
    "optimizer": "Optimizer",
    "schedule": "Schedule",
    "memory": "Memory",
    "sampling": "Samples",
    "output": "Output",
    "guards": "If it ends too early",
}
"""The titles of the sections of a plan, in the order in which they are shown."""


@dataclass(frozen=True)
class SettingField:
    """One setting: its dotted `path`, and its declaration as data; `about` contains what its `Setting` declares."""

    path: str
    annotation: Any
    default: Any
    title: str
    doc: str
    unit: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    about: Setting

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.partition(".")[2]

    @property
    def section(self) -> str:
        """The first part of the path."""
        return self.path.partition(".")[0]

    @property
    def on(self) -> str:
        """What it must be for the settings that apply only with it: "on", "set" for a text, or "more than 0" for a number."""
        return {bool: "on", str: "set"}.get(self.base_type, "more than 0")

    @functools.cached_property
    def base_type(self) -> type:
        """bool, int, float, str, or tuple for a list of tables."""
        if self.choices:
            return str
        if self.is_list:
            return tuple
        return next(kind for kind in get_args(self.annotation) or (self.annotation,) if kind is not NoneType)

    @functools.cached_property
    def is_list(self) -> bool:
        """Whether its value is a list of tables: sample prompts, or image folders."""
        return get_origin(self.annotation) is tuple

    @functools.cached_property
    def optional(self) -> bool:
        """Whether it can be empty (None), which means the default of the engine, optimizer or model."""
        return get_origin(self.annotation) is UnionType

    @property
    def owner(self) -> str:
        """Who it belongs to: "recipe", "job", "person" or "machine". Free text belongs to the job unless declared otherwise."""
        is_free_text = self.base_type is str and not self.choices
        return self.about.owner or ("job" if is_free_text else "recipe")

    @property
    def is_the_jobs(self) -> bool:
        """Whether it belongs to one training: no profile, preset or policy may contain it, and it is not remembered."""
        return self.owner == "job"

    @property
    def is_shared(self) -> bool:
        """Whether a profile made from a training contains it."""
        return self.owner == "recipe"

    @property
    def chooses(self) -> Mapping[str, catalog.Entry]:
        """The catalogue entries that are its choices; {} for another setting."""
        return _CATALOGUES[self.about.choices]() if self.about.choices in _CATALOGUES else {}


_CATALOGUES = {
    "algorithms": catalog.algorithms,
    "optimizers": catalog.optimizers,
    "schedulers": catalog.schedulers,
}


def _bound(info: FieldInfo, *names: str) -> float | None:
    for constraint in info.metadata:
        for name in names:
            value = getattr(constraint, name, None)
            if isinstance(value, int | float):
                return float(value)
    return None


def _docs() -> dict[tuple[str, str], str]:
    """The docstring under each setting, by (class name, setting name)."""
    docs: dict[tuple[str, str], str] = {}
    section = name = ""
    for found in _DECLARATION.finditer("".join(map(inspect.getsource, (sections, images, results, subsets)))):
        if found["section"]:
            section, name = found["section"], ""
        elif found["name"]:
            name = found["name"]
        elif name:
            docs[section, name] = inspect.cleandoc(found["doc"])
            # A docstring that follows is that of something else, such as a function after the last setting.
            name = ""
    return docs


def _about(info: FieldInfo, group: FieldInfo) -> Setting:
    """The declaration of a setting, completed by the declaration of its group."""
    own, of_group = (
        next((each for each in declared.metadata if isinstance(each, Setting)), Setting()) for declared in (info, group)
    )
    unsaid = {
        each.name: value
        for each in dataclasses.fields(Setting)
        if not getattr(own, each.name) and (value := getattr(of_group, each.name))
    }
    return dataclasses.replace(own, **unsaid)


def _describe(path: str, info: FieldInfo, doc: str, about: Setting) -> SettingField:
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, Mapping) else {}
    return SettingField(
        path=path,
        annotation=info.annotation,
        default=info.default,
        title=info.title or path,
        doc=doc.replace("\n", " "),
        unit=str(extra.get("unit", "")),
        minimum=_bound(info, "ge", "gt"),
        maximum=_bound(info, "le", "lt"),
        choices=get_args(info.annotation) if get_origin(info.annotation) is Literal else (),
        about=about,
    )


@functools.cache
def _sections() -> Mapping[str, type[BaseModel]]:
    return {
        name: info.annotation
        for name, info in TrainingPlan.model_fields.items()
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
    }


@functools.cache
def all_fields() -> Mapping[str, SettingField]:
    """Every setting by dotted path, in declared order; without `native`, whose keys belong to the engines."""
    docs, groups = _docs(), TrainingPlan.model_fields
    return {
        f"{section}.{name}": _describe(
            f"{section}.{name}", info, docs.get((model.__name__, name), ""), _about(info, groups[section])
        )
        for section, model in _sections().items()
        for name, info in model.model_fields.items()
    }


@functools.cache
def folder_fields() -> Mapping[str, SettingField]:
    """What an entry of `dataset.subsets` can have, by its name there, described as settings are."""
    docs, nothing = _docs(), Setting()
    return {
        name: _describe(f"{subsets.LIST}.{name}", info, docs.get((subsets.Subset.__name__, name), ""), nothing)
        for name, info in subsets.Subset.model_fields.items()
    }


def paths() -> tuple[SettingField, ...]:
    """The settings that are the path of a file or folder."""
    return tuple(field for field in all_fields().values() if field.about.path)


def model_files() -> tuple[SettingField, ...]:
    """The settings that are the path of the model or of a companion file."""
    return tuple(field for field in paths() if field.section == "model")


def parts() -> tuple[SettingField, ...]:
    """The settings that are the path of a companion file; each has the name of the part."""
    return tuple(field for field in paths() if field.about.part)


def replaced_by(path: str) -> str:
    """The setting that replaces this one if it is set; "" for none."""
    return next((field.path for field in all_fields().values() if field.about.replaces == path), "")


@functools.cache
def choosers() -> Mapping[str, SettingField]:
    """By section, the setting whose choices come from the catalogue: its value decides which others of the section are read."""
    return {field.section: field for field in all_fields().values() if field.chooses}


@functools.cache
def readers(path: str) -> tuple[str, ...]:
    """The names of the catalogue entries that read a setting; () if it does not depend on a choice."""
    field = all_fields()[path]
    chosen = choosers().get(field.section)
    entries = chosen.chooses if chosen else {}
    return tuple(known for known, found in entries.items() if field.name in getattr(found, "settings", ()))


def decided_by(changed: Iterable[str]) -> frozenset[str]:
    """What must be read again after these settings changed: "model", "parts", "dataset", "subject"."""
    known = all_fields()
    # Native settings can change how an engine reads images and captions.
    return frozenset(
        what
        for path in changed
        for what in (known[path].about.decides if path in known else ("dataset",) if path == "native" else ())
    )


def check(path: str, value: Any) -> tuple[Any, str]:
    """The value in the declared type, and "" or a sentence with the reason why it is refused.

    Types are strict (a bool is not a number, "ten" is not an integer), but a whole float is accepted as an integer and an
    integer as a float, because JSON and widgets do not distinguish them.
    """
    # A change of one setting checks all of them again, several times.
    is_small = isinstance(value, bool | int | float | NoneType) or (isinstance(value, str) and len(value) < LONG_TEXT)
    return (_check_known if is_small else _check)(path, value)


def _check(path: str, value: Any) -> tuple[Any, str]:
    field = all_fields()[path]
    if field.base_type is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if field.base_type is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    section, _, name = path.partition(".")
    try:
        # Validates the section with its defaults and this one value: building a validator for each setting would be slow.
        found = _sections()[section].model_validate({name: value}, strict=True)
    except ValidationError as error:
        return value, f"{field.title}: {_sentence(error)} (got {value!r:.80})."
    return (found.model_dump(include={name}) if field.is_list else vars(found))[name], ""


# By type as well: True and 1.0 are equal to 1.
_check_known = functools.lru_cache(maxsize=20_000, typed=True)(_check)


_WORDS = {
    "int_type": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "float_type": "it must be a number",
    "bool_type": "it must be on or off",
    "string_type": "it must be text",
    "finite_number": "it must be a finite number",
    "greater_than_equal": "it must be {ge:,} or more",
    "greater_than": "it must be more than {gt:,}",
    "less_than_equal": "it must be {le:,} or less",
    "less_than": "it must be less than {lt:,}",
    "literal_error": "it must be {expected}",
}
"""What is said of an error, by the type that pydantic gives it. Source: its documentation, "Validation Errors"."""


def _sentence(error: ValidationError) -> str:
    """What is wrong, after the number and the name of the entry of a list that it is said of."""
    first = error.errors(include_url=False)[0]
    where = (f"number {part + 1}" if isinstance(part, int) else part for part in first["loc"][1:])
    message = first["msg"].replace("tuple", "list")
    bounds = {name: _without_zeros(bound) for name, bound in first.get("ctx", {}).items()}
    words = _WORDS.get(first["type"])
    return ": ".join((*where, words.format(**bounds) if words else message[:1].lower() + message[1:]))


def _without_zeros(bound: Any) -> Any:
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def from_text(path: str, text: str) -> tuple[Any, str]:
    """The value of a command line text, and "" or a sentence with the reason why it is refused."""
    field = all_fields()[path]
    kind = field.base_type
    if field.is_list:
        value, sentence = _lists(field).from_text(text)
        return (value, f"{field.title}: {sentence}") if sentence else check(path, value)
    if field.optional and text.strip().lower() in ("", "none"):
        return None, ""
    if kind is bool:
        words = {
            "true": True,
            "yes": True,
            "on": True,
            "1": True,
            "false": False,
            "no": False,
            "off": False,
            "0": False,
        }
        if text.lower() not in words:
            return text, f"{field.title}: must be true or false (got {text!r:.80})."
        return words[text.lower()], ""
    if kind in (int, float):
        try:
            return check(path, kind(text))
        except ValueError:
            return text, f"{field.title}: {text!r:.80} is not a {'whole ' if kind is int else ''}number."
    return check(path, text)


def _lists(field: SettingField) -> ModuleType:
    """The module that reads and writes the text of a list."""
    return subsets if get_args(field.annotation)[0] is subsets.Subset else prompts


def to_text(path: str, value: Any) -> str:
    """The value as a text that `from_text` reads: what a text field shows."""
    if all_fields()[path].is_list:
        return _lists(all_fields()[path]).to_text(value)
    return "" if value is None else str(value)


def flatten(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested section tables as {dotted path: value}, lists as tuples; everything under `native` stays one value under "native"."""
    flat: dict[str, Any] = {}
    for section, table in settings.items():
        if section == "native" or not isinstance(table, Mapping):
            flat[section] = table
            continue
        flat.update(
            {f"{section}.{name}": tuple(value) if isinstance(value, list) else value for name, value in table.items()}
        )
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        section, _, name = path.partition(".")
        if name:
            nested.setdefault(section, {})[name] = value
        else:
            nested[section] = value
    return nested
