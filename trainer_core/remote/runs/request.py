"""What a trainer is asked for: the request for one run, as JSON that is checked strictly, because it may come from anybody."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Self

from trainer_core.engines import registry
from trainer_core.errors import EaselError, JobError
from trainer_core.plan import fields
from trainer_core.plan.subsets import LIST, PATHS
from trainer_core.text import printable

VERSION = 1
KEYS = ("version", "id", "engine", "plan", "chosen")
CHOSEN = ("profile", "preset", "policy")
"""What values of a plan can come from; the names in `Request.chosen`."""
LARGEST_BYTES = 4 << 20
LONGEST_ID = 160
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*-[0-9a-f]{8}", re.ASCII)
_ENGINE = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}", re.ASCII)
_HINT = "It was not made by this version of Easel. Update Easel on both machines."


@dataclass(frozen=True)
class PlanPath:
    """A path that a plan names, by the `key` of its place, such as `dataset.subsets.0.path` or `native.kohya.vae`."""

    key: str
    path: str

    @property
    def is_images(self) -> bool:
        """Whether it is a folder of images or masks; otherwise it is a model file or folder."""
        return self.key.startswith("dataset.")


@dataclass(frozen=True)
class Request:
    """The request for a run. `plan` has the tables of a plan with the paths of the trainer; `chosen` where its values are from."""

    id: str
    engine: str
    plan: Mapping[str, Any]
    chosen: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The request as JSON data."""
        return {
            "version": VERSION,
            "id": self.id,
            "engine": self.engine,
            "plan": self.plan,
            "chosen": dict(self.chosen),
        }

    def to_json(self) -> str:
        """The request as text."""
        return json.dumps(self.as_dict(), ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The request in a text.

        Raises:
            JobError: it is not a request, or one of a newer Easel.
        """
        if len(text) > LARGEST_BYTES:
            raise JobError("A request for a run is too long.", _HINT)
        try:
            return cls.from_dict(json.loads(text, parse_constant=_no_number))
        except (ValueError, RecursionError) as error:
            raise JobError(f"A request for a run is not JSON: {printable(str(error), 200)}.", _HINT) from error

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """The request in JSON data. The values of its plan are checked when the run is made.

        Raises:
            JobError: it is not a request, or one of a newer Easel.
        """
        if not isinstance(data, Mapping):
            raise JobError("A request for a run must be a JSON object.", _HINT)
        if unknown := sorted(str(key) for key in data.keys() - set(KEYS)):
            raise JobError(f"A request for a run has an unknown entry: {printable(unknown[0], 80)}.", _HINT)
        if missing := [key for key in KEYS if key not in data]:
            raise JobError(f"A request for a run lacks {missing[0]!r}.", _HINT)
        if data["version"] != VERSION or isinstance(data["version"], bool):
            raise JobError(f"A request for a run has the version {data['version']!r:.20}, not {VERSION}.", _HINT)
        engine, plan, chosen = data["engine"], data["plan"], data["chosen"]
        if not isinstance(engine, str) or not _ENGINE.fullmatch(engine):
            raise JobError(f"A request for a run names no engine: {engine!r:.80}.", _HINT)
        if not isinstance(plan, Mapping) or not all(isinstance(table, Mapping) for table in plan.values()):
            raise JobError("The plan in a request for a run is not made of tables.", _HINT)
        if not isinstance(chosen, Mapping) or chosen.keys() - set(CHOSEN):
            raise JobError("A request for a run names something unknown that its values come from.", _HINT)
        if not all(isinstance(value, str) and len(value) <= 200 for value in chosen.values()):
            raise JobError("A request for a run names something that its values come from by no text.", _HINT)
        return cls(checked_id(data["id"]), engine, dict(plan), dict(chosen))


def new_id(run: str) -> str:
    """A new id for the remote run of a local run with this name."""
    return f"{run[: LONGEST_ID - 9]}-{secrets.token_hex(4)}"


def checked_id(text: object) -> str:
    """The id of a remote run. It is part of file names on every machine, so it can be nothing else.

    Raises:
        JobError: it is not one.
    """
    if not isinstance(text, str) or len(text) > LONGEST_ID or not _ID.fullmatch(text):
        raise JobError(
            f"{printable(str(text), 80)!r} is not the id of a remote run.",
            "An id ends in a dash and 8 digits or letters a to f.",
        )
    return text


def stays(path: str) -> bool:
    """Whether a setting is a folder that is written: it stays here, because results are fetched, and delivered on this machine."""
    known = fields.all_fields().get(path)
    return known is not None and bool(known.about.path) and known.about.written


def paths_of(plan: Mapping[str, Any], engine: str) -> tuple[PlanPath, ...]:
    """The paths that the tables of a plan name and that the trainer needs; each is on this machine."""
    found: list[PlanPath] = []
    changed(plan, engine, lambda one: found.append(one) or one.path)
    return tuple(found)


def changed(plan: Mapping[str, Any], engine: str, there: Callable[[PlanPath], str]) -> dict[str, Any]:
    """The tables of a plan with each path replaced by where it is `there`, and without the folders of results."""
    flat = fields.flatten(plan)
    for setting in fields.paths():
        text = flat.get(setting.path)
        if setting.about.written:
            flat.pop(setting.path, None)
        elif isinstance(text, str) and text:
            flat[setting.path] = there(PlanPath(setting.path, text))
    if isinstance(rows := flat.get(LIST), list | tuple):
        flat[LIST] = [dict(_folder(row, number, there)) for number, row in enumerate(rows)]
    native = flat.get("native")
    if isinstance(native, Mapping) and isinstance(own := native.get(engine), Mapping):
        weights = _weights(engine)
        flat["native"] = {
            **native,
            engine: {
                name: _native(f"native.{engine}.{name}", value, there) if name in weights else value
                for name, value in own.items()
            },
        }
    return fields.nest(flat)


def _folder(row: Mapping[str, Any], number: int, there: Callable[[PlanPath], str]) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        is_path = name in PATHS and isinstance(value, str) and value
        yield name, there(PlanPath(f"{LIST}.{number}.{name}", value)) if is_path else value


def _native(key: str, value: Any, there: Callable[[PlanPath], str]) -> Any:
    if isinstance(value, list | tuple):
        return [_native(f"{key}.{place}", each, there) for place, each in enumerate(value)]
    return there(PlanPath(key, value)) if isinstance(value, str) and value else value


def _weights(engine: str) -> frozenset[str]:
    """The engine's own options that name files of weights."""
    try:
        return frozenset(registry.get(engine).manifest.options.weights)
    except EaselError:
        return frozenset()


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")
