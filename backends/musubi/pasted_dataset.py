"""What pasted commands of musubi-tuner say about image folders, in the description of the dataset that they name.

Source: dataset/config_utils.py, BlueprintGenerator: the values of a dataset are its own, else the general ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainer_core.engines.pasted import Files, Item, parse, shown
from trainer_core.engines.pasted_options import Read, direct, resolution, side_of
from trainer_core.engines.pasted_training import Reader
from trainer_core.errors import PlanError
from trainer_core.plan import fields
from trainer_core.plan.subsets import LIST

FOLDER = "image_directory"
NAMES = {
    FOLDER: "path",
    "caption_extension": "caption_extension",
    "control_directory": "controls",
    "num_repeats": "repeats",
    "resolution": "resolution",
}
"""The keys of a dataset, and those of an entry of `dataset.subsets`."""
OWN = (FOLDER, "cache_directory")
FROM_FIRST = ("caption_extension", "num_repeats", "resolution")
"""The keys whose value a further folder of a plan has from the first, if it has none of its own."""
USUAL: Mapping[str, Any] = {"num_repeats": 1}
"""The engine's defaults."""
UNSAID = "it has none of its own there. In Easel it has the value of the first folder."
FOR_ALL = "Easel has one value for all image folders, that of the first one."
NOT_SQUARE = "Easel takes one side: images are scaled to the area of a square with it."


def is_description(options: Mapping[str, Any]) -> bool:
    """Whether options describe a dataset of this engine: its folders are in `datasets` themselves, without `subsets`."""
    tables = _tables(options.get("datasets"))
    return any(FOLDER in table for table in tables)


def _tables(datasets: Any) -> list[dict[str, Any]]:
    return [each for each in datasets if isinstance(each, dict)] if isinstance(datasets, list) else []


def with_files(given: Mapping[str, Any], files: Files) -> tuple[dict[str, Any], list[Item]]:
    """The options with those of the files that they name, and what becomes of the files that cannot be used."""
    full, notes = dict(given), []
    if isinstance(path := full.get("config_file"), str):
        found, problem = _read(files, path if path.endswith(".toml") else f"{path}.toml")
        if problem:
            notes.append(Item("config_file", shown(path), "refused", reason=problem))
            del full["config_file"]
        full = {**found, **full}
    if "datasets" not in full and isinstance(path := full.get("dataset_config"), str):
        found, problem = _read(files, path)
        if problem or not _tables(found.get("datasets")):
            reason = problem or "it describes no dataset."
            notes.append(Item("dataset_config", shown(path), "refused", reason=reason))
            del full["dataset_config"]
        full = {**found, **full}
    described, more = _described(full)
    return described, [*notes, *more]


def _read(files: Files, path: str) -> tuple[dict[str, Any], str]:
    """The options in a file, and "", or the reason why it cannot be read."""
    try:
        return dict(parse(files.text(path)).options), ""
    except PlanError as error:
        return {}, error.message


def _described(options: dict[str, Any]) -> tuple[dict[str, Any], list[Item]]:
    """The options with those of the first folder, and what becomes of further folders."""
    if "datasets" not in options:
        return options, []
    tables, items = _tables(options.pop("datasets")), []
    own = [table for table in tables if table.get(FOLDER)]
    for table in tables:
        if table not in own:
            text = shown(next(iter(table.values()), ""))
            items.append(Item("datasets", text, "refused", reason="Easel trains folders of images with this engine."))
    if not own:
        return options, items
    each = [{**{key: options[key] for key in NAMES if key in options}, **table} for table in own]
    return {**options, **own[0]}, [*items, *_further({**options, **own[0]}, each[1:])]


def _further(first: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> Iterator[Item]:
    """The item of further folders, and those of what they cannot have of their own."""
    entries = []
    for other in others:
        entry = {}
        for key, value in other.items():
            side = side_of(value) if key == "resolution" else value
            if key in NAMES and side is not None and (key == FOLDER or value != first.get(key)):
                entry[NAMES[key]] = side
            elif key not in OWN and value != first.get(key):
                reason = NOT_SQUARE if key == "resolution" else FOR_ALL
                yield Item(f"{key} ({shown(other[FOLDER])})", shown(value), "refused", reason=reason)
        for key in (key for key in FROM_FIRST if key in first and key not in other):
            if key in USUAL:
                entry[NAMES[key]] = USUAL[key]
            else:
                yield Item(f"{key} ({shown(other[FOLDER])})", "", "refused", reason=UNSAID)
        entries.append(entry)
    if entries:
        text = ", ".join(shown(entry["path"]) for entry in entries)
        value, problem = fields.check(LIST, tuple(entries))
        yield Item("datasets", text, "refused" if problem else "setting", LIST, value, problem)


def _path(setting: str) -> Reader:
    def found(read: Read, name: str, value: Any) -> Iterator[Item]:
        if name in read.given:
            yield from direct(read, name, setting, value)

    return found


def _resolution(read: Read, name: str, value: Any) -> Iterator[Item]:
    if name in read.given:
        yield from resolution(read, name, value)


def _control_resolution(read: Read, name: str, value: Any) -> Iterator[Item]:
    if name in read.given:
        side = side_of(value)
        is_same = side is not None and side == side_of(read.given.get("resolution"))
        reason = "Easel sets it so." if is_same else "Easel shows control images at the resolution of the images."
        yield Item(name, shown(value), "same" if is_same else "refused", reason=reason)


SPECIAL: Mapping[str, Reader] = {
    FOLDER: _path("dataset.path"),
    "control_directory": _path("dataset.controls"),
    "control_resolution": _control_resolution,
    "resolution": _resolution,
}
"""The keys of a dataset whose value has another form in a plan."""
