"""Settings by dotted path: what the sections declare, as flat data for controls, options, profiles and docs."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from trainer_core.plan import sections
from trainer_core.plan.sections import TrainingPlan


@dataclass(frozen=True)
class SettingField:
    """One setting: dotted `path`, declared `annotation`, `default`, `title`, `doc`, `unit`, bounds and choices."""

    path: str
    annotation: Any
    default: Any
    title: str
    doc: str
    unit: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]

    @property
    def section(self) -> str:
        """The first part of the path."""
        return self.path.partition(".")[0]

    @property
    def base_type(self) -> type:
        """bool, int, float or str."""
        if self.choices:
            return str
        return next(kind for kind in get_args(self.annotation) or (self.annotation,) if kind is not NoneType)

    @property
    def optional(self) -> bool:
        """Whether it can be left empty (None), which means as the rest has it."""
        return get_origin(self.annotation) is UnionType


def _bound(info: FieldInfo, *names: str) -> float | None:
    for constraint in info.metadata:
        for name in names:
            value = getattr(constraint, name, None)
            if isinstance(value, int | float):
                return float(value)
    return None


def _docs() -> dict[tuple[str, str], str]:
    """The docstring under each setting, by the names of its class and of itself."""
    docs: dict[tuple[str, str], str] = {}
    for section in ast.parse(inspect.getsource(sections)).body:
        if isinstance(section, ast.ClassDef):
            for setting, below in itertools.pairwise(section.body):
                match setting, below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                        docs[section.name, name] = inspect.cleandoc(doc)
    return docs


def _describe(path: str, info: FieldInfo, doc: str) -> SettingField:
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
    """Every setting by dotted path, in declared order. `native` is not among them: its keys belong to the engines."""
    docs = _docs()
    return {
        f"{section}.{name}": _describe(f"{section}.{name}", info, docs.get((model.__name__, name), ""))
        for section, model in _sections().items()
        for name, info in model.model_fields.items()
    }


def check(path: str, value: Any) -> tuple[Any, str]:
    """The value in the declared type, and "" or the sentence why it is refused.

    Strict about type (a bool is no number, "ten" no integer), but a whole float passes for an integer and an integer
    for a float, since JSON and widgets do not keep them apart.
    """
    field = all_fields()[path]
    if field.base_type is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if field.base_type is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    section, _, name = path.partition(".")
    try:
        # The section with its defaults and this one value: a validator for each setting would take long to build.
        return getattr(_sections()[section].model_validate({name: value}, strict=True), name), ""
    except ValidationError as error:
        return value, f"{field.title}: {_sentence(error)} (got {value!r:.80})."


def _sentence(error: ValidationError) -> str:
    message = error.errors(include_url=False, include_context=False)[0]["msg"]
    return message[:1].lower() + message[1:]


def from_text(path: str, text: str) -> tuple[Any, str]:
    """The value that command line text stands for, and "" or the sentence why it is refused."""
    field = all_fields()[path]
    kind = field.base_type
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
            return text, f"{field.title}: say true or false (got {text!r:.80})."
        return words[text.lower()], ""
    if kind in (int, float):
        try:
            return check(path, kind(text))
        except ValueError:
            return text, f"{field.title}: {text!r:.80} is not a {'whole ' if kind is int else ''}number."
    return check(path, text)


def flatten(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested section tables as {dotted path: value}; anything under `native` stays one value under "native"."""
    flat: dict[str, Any] = {}
    for section, table in settings.items():
        if section == "native" or not isinstance(table, Mapping):
            flat[section] = table
            continue
        flat.update({f"{section}.{name}": value for name, value in table.items()})
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
