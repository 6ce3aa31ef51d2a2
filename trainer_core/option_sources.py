"""Which settings of a plan each option of an engine follows from: found by changing one setting at a time and rendering.

It works over the seam alone: whatever an engine writes as TOML or JSON is read back, so it knows no engine.
"""

from __future__ import annotations

import functools
import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trainer_core.backend import Backend, JobSpec, Place
from trainer_core.engine_options import EngineOptions
from trainer_core.plan import fields
from trainer_core.plan.sections import PARTS, TrainingPlan

Cell = tuple[str, str]
"""A family and a method that an engine claims."""

_CHOOSING = ("network.algorithm", "optimizer.name", "schedule.scheduler")
"""Settings that decide which others of their section mean something."""

# With these on, settings mean something that otherwise do not.
_RICH = {
    "sampling.every_steps": 10,
    "sampling.negative_prompt": "text",
    "network.train_text_encoder": True,
    "dataset.shuffle_captions": True,
}


@dataclass
class Rendered:
    """What was seen of one record's options: `names` were rendered, `settings` are what each follows from."""

    names: set[str] = field(default_factory=set)
    settings: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, other: Rendered, called: Mapping[str, str] = MappingProxyType({})) -> None:
        """Takes in what was seen elsewhere; `called` are options that have another name there."""
        self.names |= other.names | {name for name, there in called.items() if there in other.names}
        for option, paths in other.settings.items():
            self.settings[option] |= paths
        for name, there in called.items():
            self.settings[name] |= other.settings.get(there, set())


def sources(backend: Backend, cells: Sequence[Cell], records: Mapping[str, EngineOptions]) -> Mapping[str, Rendered]:
    """{name of a record: what the engine renders of it} for the cells (family, method) that one program trains."""
    found = {name: Rendered() for name in records}
    for cell in cells:
        for base in _bases(backend, cell):
            before = _tables(backend, base, records)
            for name, table in before.items():
                found[name].names.update(table)
            for path, value in _changes(backend, cells, base):
                after = _tables(backend, {**base, path: value}, records)
                for name in before.keys() | after.keys():
                    for option in _differing(before.get(name, {}), after.get(name, {})):
                        found[name].names.add(option)
                        found[name].settings[option].add(path)
    return found


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


def _claimed(backend: Backend, family: str) -> Mapping[str, tuple[str, ...]]:
    """What the engine claims of the catalogue for a family, by the setting that chooses."""
    manifest = backend.manifest
    claims = (manifest.families[family].algorithms, tuple(manifest.optimizers), tuple(manifest.schedulers))
    return dict(zip(_CHOOSING, claims, strict=True))


def _bases(backend: Backend, cell: Cell) -> Iterator[dict[str, Any]]:
    """What plans are made of before one setting is changed: the default, a rich one, and one for each claimed choice."""
    plain = {"model.family": cell[0], "model.method": cell[1]}
    yield plain
    yield plain | _RICH
    yield plain | {"memory.mixed_precision": "fp16"}
    for path, choices in _claimed(backend, cell[0]).items():
        yield from ({**plain, **_RICH, path: choice} for choice in choices)


def _changes(backend: Backend, cells: Sequence[Cell], base: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(setting, another value) of what may show in the files of a plan with these values.

    Where a choice was made, only its own section is looked at again.
    """
    family, method = base["model.family"], base["model.method"]
    claimed = {
        **_claimed(backend, family),
        "model.family": tuple(other for other, same in cells if same == method and other != family),
        "model.method": tuple(other for same, other in cells if same == family and other != method),
    }
    section = next((path.partition(".")[0] for path in _CHOOSING if path in base), "")
    for path, setting in fields.all_fields().items():
        if section in ("", setting.section):
            values = claimed["model.family"] if path == "model.family" else other_values(setting)
            yield from ((path, value) for value in values if value in claimed.get(path, (value,)))


def other_values(setting: fields.SettingField) -> list[Any]:
    """Allowed values of a setting that are not its default."""
    if setting.choices:
        return [choice for choice in setting.choices if choice not in ("", setting.default)]
    kind = setting.base_type
    if kind is bool:
        return [True] if setting.default is None else [not setting.default]
    if kind is str:
        part = setting.section == "model" and setting.path.partition(".")[2] in PARTS
        named = (
            "/models/other.safetensors" if part else {"dataset.caption_extension": ".other"}.get(setting.path, "other")
        )
        return [named]
    start = setting.default if isinstance(setting.default, int | float) else setting.minimum or 0
    trials = [start + 1, start * 2 + 1, start + 0.25, start / 2, start + 0.001]
    passed = [value for trial in trials if not (value := fields.check(setting.path, kind(trial)))[1]]
    return [value for value, _ in passed if value != setting.default][:1]


def _tables(
    backend: Backend, values: Mapping[str, Any], records: Mapping[str, EngineOptions]
) -> dict[str, dict[str, Any]]:
    """{record: options with values} of a job's files; tables of one record are merged, as the programs do."""
    found: dict[str, dict[str, Any]] = {}
    for path, text in _render(backend, values).files.items():
        for table in _within(_read(path.suffix, text)):
            if name := _record_of(table, records):
                found.setdefault(name, {}).update(table)
    return found


def _render(backend: Backend, values: Mapping[str, Any]) -> JobSpec:
    flat = {path: setting.default for path, setting in fields.all_fields().items()}
    flat |= {"model.path": "/models/base.safetensors", "dataset.path": "/pictures", "dataset.trigger": "trigger"}
    home = Path("/run")
    place = Place(
        run=home,
        dataset=home / "dataset",
        output=home / "output",
        python=Path("/engine/python"),
        checkout=Path("/engine/source"),
        options={"tokenizers": "/tokenizers"},
        captions={"one": "a caption"},
    )
    plan = TrainingPlan.model_validate(fields.nest({**flat, "output.name": "made", **values}))
    return backend.render(plan, place)


@functools.lru_cache(maxsize=64)  # most changes leave most files as they were
def _read(suffix: str, text: str) -> Any:
    if suffix == ".toml":
        return tomllib.loads(text)
    return json.loads(text) if suffix == ".json" else None


def _within(data: Any) -> Iterator[dict[str, Any]]:
    """The tables in a tree, each without the tables in it."""
    if isinstance(data, list):
        for item in data:
            yield from _within(item)
    elif isinstance(data, dict):
        yield {name: value for name, value in data.items() if not isinstance(value, dict) and not _has_tables(value)}
        for value in data.values():
            yield from _within(value)


def _has_tables(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _record_of(table: Mapping[str, Any], records: Mapping[str, EngineOptions]) -> str | None:
    """The record that knows most of a table's names; None when none knows half of them."""
    known = {name: len(table.keys() & record.options.keys()) for name, record in records.items()}
    best = max(known, key=lambda name: known[name], default=None)
    return best if best is not None and table and 2 * known[best] > len(table) else None
