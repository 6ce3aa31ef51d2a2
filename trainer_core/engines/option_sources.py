"""Finds the settings of a plan that determine each option of an engine, by changing one setting at a time and rendering.

It uses only the interface of backends and reads back the TOML and JSON that they write, so it works for every engine.
"""

from __future__ import annotations

import functools
import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from trainer_core.engines.options import EngineOptions
from trainer_core.engines.seam import Backend, JobSpec, Place
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan

Cell = tuple[str, str]
"""A family and a method that an engine claims."""

# With these values, more settings have an effect.
_RICH = {
    "sampling.every_steps": 10,
    "sampling.negative_prompt": "text",
    "network.train_text_encoder": True,
    "dataset.shuffle_captions": True,
    "dataset.class_path": "/classes",
    "output.save_every_steps": 10,
}


@dataclass
class Rendered:
    """The rendered options of one record: `names` were rendered, `settings` are the settings that determine each."""

    names: set[str] = field(default_factory=set)
    settings: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, other: Rendered, called: Mapping[str, str] = MappingProxyType({})) -> None:
        """Adds the options of another record; `called` maps options to their names in that record."""
        self.names |= other.names | {name for name, other_name in called.items() if other_name in other.names}
        for option, paths in other.settings.items():
            self.settings[option] |= paths
        for name, other_name in called.items():
            self.settings[name] |= other.settings.get(other_name, set())


def sources(backend: Backend, cells: Sequence[Cell], records: Mapping[str, EngineOptions]) -> Mapping[str, Rendered]:
    """{name of a record: its rendered options} for the cells (family, method) that one program trains."""
    found = {name: Rendered() for name in records}
    for cell in cells:
        for base in _bases(backend, cell):
            before = rendered_tables(backend, base, records)
            for name, table in before.items():
                found[name].names.update(table)
            for path, value in _changes(backend, cells, base):
                after = rendered_tables(backend, {**base, path: value}, records)
                for name in before.keys() | after.keys():
                    for option in _differing(before.get(name, {}), after.get(name, {})):
                        found[name].names.add(option)
                        found[name].settings[option].add(path)
    return found


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


def _claimed(backend: Backend, family: str) -> Mapping[str, tuple[str, ...]]:
    """The entries of the catalog that the engine supports for a family, by the setting that chooses one."""
    manifest = backend.manifest
    claims = {
        "algorithms": manifest.families[family].algorithms,
        "optimizers": tuple(manifest.optimizers),
        "schedulers": tuple(manifest.schedulers),
    }
    return {chosen.path: claims[chosen.about.choices] for chosen in fields.choosers().values()}


def _bases(backend: Backend, cell: Cell) -> Iterator[dict[str, Any]]:
    """The values of the plans before one setting is changed: defaults, `_RICH` values, and one plan for each supported choice."""
    plain = {"model.family": cell[0], "model.method": cell[1]}
    yield plain
    yield plain | _RICH
    yield plain | {"memory.mixed_precision": "fp16"}
    for path, choices in _claimed(backend, cell[0]).items():
        yield from ({**plain, **_RICH, path: choice} for choice in choices)


def _changes(backend: Backend, cells: Sequence[Cell], base: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(setting, another value) for each setting that may change the files of a plan with these values.

    If the values choose an entry of the catalog, only the settings of its section are changed.
    """
    family, method = base["model.family"], base["model.method"]
    claimed = {
        **_claimed(backend, family),
        "model.family": tuple(other for other, same in cells if same == method and other != family),
        "model.method": tuple(other for same, other in cells if same == family and other != method),
    }
    section = next((section for section, chosen in fields.choosers().items() if chosen.path in base), "")
    for path, setting in fields.all_fields().items():
        if section in ("", setting.section):
            values = claimed["model.family"] if path == "model.family" else other_values(setting)
            yield from ((path, value) for value in values if value in claimed.get(path, (value,)))


def other_values(setting: fields.SettingField) -> list[Any]:
    """Allowed values of a setting that are not its default: every choice, or one value."""
    if setting.choices:
        return [choice for choice in setting.choices if choice not in ("", setting.default)]
    return [_other_value(setting)]


def _other_value(setting: fields.SettingField) -> Any:
    if setting.path == "dataset.subsets":
        return ({"path": "/more", "repeats": 3},)
    if setting.is_list:
        return ({"text": "one prompt"}, {"text": "another prompt"})
    if setting.base_type is bool:
        return not setting.default
    if setting.default is None:
        low = 0 if setting.minimum is None else setting.minimum
        high = 1 if setting.maximum is None else setting.maximum
        return setting.base_type(low + (high - low) / 2)
    if setting.path == "schedule.flow_shift":
        return 2.75  # 1, 2.5 and 3 are the defaults of some families
    if isinstance(setting.default, int | float):
        larger = setting.default + max(1, setting.default)
        inside = setting.maximum is None or larger < setting.maximum
        return type(setting.default)(larger if inside else (setting.minimum or 0) + 0.25)
    if setting.about.part:
        return "/models/other.safetensors"
    return {"dataset.caption_extension": ".other"}.get(setting.path, "another")


def rendered_tables(
    backend: Backend, values: Mapping[str, Any], records: Mapping[str, EngineOptions]
) -> dict[str, dict[str, Any]]:
    """{record: options with values} of a job's files; tables of one record are merged, as the programs do."""
    return tables_in(_render(backend, values).files, records)


def tables_in(files: Mapping[PurePosixPath, str], records: Mapping[str, EngineOptions]) -> dict[str, dict[str, Any]]:
    """{record: options with values} in rendered files, as from `rendered_tables`."""
    found: dict[str, dict[str, Any]] = {}
    for path, text in files.items():
        for table in _within(_read(path.suffix, text)):
            if name := _record_of(table, records):
                found.setdefault(name, {}).update(table)
    return found


def _render(backend: Backend, values: Mapping[str, Any]) -> JobSpec:
    flat = {path: setting.default for path, setting in fields.all_fields().items()}
    flat |= {"model.path": "/models/base.safetensors", "dataset.path": "/images", "dataset.trigger": "trigger"}
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


@functools.lru_cache(maxsize=64)  # most changes do not change most files
def _read(suffix: str, text: str) -> Any:
    if suffix == ".toml":
        return tomllib.loads(text)
    return json.loads(text) if suffix == ".json" else None


def _within(data: Any) -> Iterator[dict[str, Any]]:
    """The tables in a tree, each without its inner tables."""
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
    """The record that has most of a table's names; None if no record has half of them."""
    known = {name: len(table.keys() & record.options.keys()) for name, record in records.items()}
    best = max(known, key=lambda name: known[name], default=None)
    return best if best is not None and table and 2 * known[best] > len(table) else None
