"""What pasted commands of sd-scripts say about images, captions and samples, also in the files that they name.

Source: library/config_util.py, generate_dreambooth_subsets_config_by_subdirs; library/train_util.py, load_prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from backends.kohya import pasted_folders
from backends.kohya.pasted_folders import REPEATED
from backends.kohya.pasted_read import Read
from trainer_core.engines.pasted import Files, Item, parse, shown
from trainer_core.engines.pasted_options import direct, item, refused, same, side_of
from trainer_core.errors import PlanError
from trainer_core.plan import fields
from trainer_core.plan.subsets import LIST

RENAMED: Mapping[Any, str] = {"batch_size": "train_batch_size"}
"""Names in the description of a dataset, and those of the program's own options."""
OF_CLASS = {"image_dir": "class_path", "num_repeats": "class_repeats", "class_tokens": "class_caption"}
"""Keys of the class images, and their settings. What else they have is that of the other images."""


def with_files(given: Mapping[str, Any], files: Files) -> tuple[dict[str, Any], list[Item]]:
    """The options with those of the files that they name, and what becomes of the files that cannot be used."""
    full, notes = dict(given), []
    if isinstance(path := full.get("config_file"), str):
        found, problem = _read(files, path if path.endswith(".toml") else f"{path}.toml")
        if problem:
            notes.append(Item("config_file", shown(path), "refused", reason=problem))
            del full["config_file"]
        full = {**found, **full}
    datasets = full.pop("datasets", None)
    if datasets is None and isinstance(path := full.get("dataset_config"), str):
        found, problem = _read(files, path)
        datasets = found.pop("datasets", None)
        if problem or datasets is None:
            reason = problem or "it describes no dataset."
            notes.append(Item("dataset_config", shown(path), "refused", reason=reason))
            del full["dataset_config"]
        full |= {RENAMED.get(name, name): value for name, value in found.items()}
    if datasets is not None:
        described, more = _described(datasets)
        full |= described
        notes += more
        if any(each.get("validation_split") for each in _tables(datasets)):
            notes += pasted_folders.held_out(full)
    return full, notes


def _read(files: Files, path: str) -> tuple[dict[str, Any], str]:
    """The options in a file, and "", or the reason why it cannot be read."""
    try:
        return dict(parse(files.text(path)).options), ""
    except PlanError as error:
        return {}, error.message


def _tables(datasets: Any) -> list[dict[str, Any]]:
    return [each for each in datasets if isinstance(each, dict)] if isinstance(datasets, list) else []


def is_foreign(options: Mapping[str, Any]) -> bool:
    """Whether the folders of a description are not where sd-scripts reads them: each of its datasets has `subsets`."""
    tables = _tables(options.get("datasets"))
    return bool(tables) and not any("subsets" in table for table in tables)


def _described(datasets: Any) -> tuple[dict[str, Any], list[Item]]:
    """The options of the first folder, and what becomes of the class images and of further folders."""
    tables = _tables(datasets)
    every = [
        {**{name: value for name, value in table.items() if name != "subsets"}, **each}
        for table in tables
        for each in table.get("subsets", ())
        if isinstance(each, dict)
    ]
    own = [each for each in every if not each.get("is_reg") and each.get("validation_split") != 1]
    of_class = [each for each in every if each.get("is_reg")]
    if not own:
        text = f"{len(tables)} datasets, no folder"
        return {}, [Item("datasets", text, "refused", reason="it describes no folder of images of a subject.")]
    found = {RENAMED.get(name, name): value for name, value in own[0].items() if name != "is_reg"}
    # One folder of class images at the resolution of the first folder has settings of its own.
    alone = of_class if len(of_class) == 1 and of_class[0].get("resolution") == own[0].get("resolution") else []
    others = [each for each in every if each is not own[0] and not any(each is one for one in alone)]
    items = [one for table in alone for one in _of_class(table)]
    return found, [*items, *pasted_folders.entries(own[0], others)]


def _of_class(table: Mapping[str, Any]) -> Iterator[Item]:
    for name, setting in OF_CLASS.items():
        if name in table:
            value, problem = fields.check(f"dataset.{setting}", table[name])
            kind = "refused" if problem else "setting"
            yield Item(f"{name} (is_reg)", shown(table[name]), kind, f"dataset.{setting}", value, problem)


def _resolution(read: Read, name: str, value: Any) -> Iterator[Item]:
    if name not in read.given:
        return
    if (side := side_of(value)) is not None:
        yield from direct(read, name, "dataset.resolution", side)
    else:
        yield refused(read, name, "Easel takes one side: images are scaled to the area of a square with it.")


def _folder(path_of: str, repeats_of: str, name_of: str) -> Callable[[Read, str, Any], Iterator[Item]]:
    """The reader of a folder with folders named as 10_name: the repeats, and the caption of images without one."""

    def found(read: Read, name: str, value: Any) -> Iterator[Item]:
        if name not in read.given:
            return
        try:
            matches = [match for each in read.files.folders(str(value)) if (match := REPEATED.fullmatch(each))]
            further = _further(read) if path_of == "dataset.path" else []
        except PlanError as error:
            yield refused(read, name, error.message)
            return
        if not matches:
            yield refused(read, name, "It has no folder named as 10_name, where sd-scripts looks for the images.")
            return
        match = matches[0]
        folder = f"{str(value).rstrip('/')}/{match[0]}"
        for path, taken in ((path_of, folder), (repeats_of, int(match[1])), (name_of, match[2].strip())):
            checked, problem = fields.check(path, taken)
            if problem:
                yield refused(read, name, problem)
            else:
                yield item(read, name, "setting", path, checked)
        if further:
            checked, problem = fields.check(LIST, tuple(further))
            yield refused(read, name, problem) if problem else item(read, name, "setting", LIST, checked)

    return found


def _further(read: Read) -> list[dict[str, Any]]:
    """The entries of all folders in kohya's layout but the first one of the images and the first one of the class images."""
    found = []
    for name in ("train_data_dir", "reg_data_dir"):
        if isinstance(folder := read.given.get(name), str) and folder:
            names = [each for each in read.files.folders(folder) if REPEATED.fullmatch(each)][1:]
            found += pasted_folders.of_layout(folder, names, is_class=name == "reg_data_dir")
    return found


def _masks(read: Read, name: str, value: Any) -> Iterator[Item]:
    if name in read.given:
        yield from direct(read, name, "dataset.masks", value)


def _masked_loss(read: Read, name: str, value: Any) -> Iterator[Item]:
    if name not in read.given:
        return
    if not value or "conditioning_data_dir" in read.given:
        yield same(read, name, "the masks were read." if value else "it is off.")
    else:
        yield item(read, name, "native", f"native.{read.manifest.id}.{name}", value)


def _image_folder(read: Read, name: str, value: Any) -> Iterator[Item]:
    yield from direct(read, name, "dataset.path", value)


SPECIAL: Mapping[str, Callable[[Read, str, Any], Iterator[Item]]] = {
    "conditioning_data_dir": _masks,
    "image_dir": _image_folder,
    "masked_loss": _masked_loss,
    "reg_data_dir": _folder("dataset.class_path", "dataset.class_repeats", "dataset.class_caption"),
    "resolution": _resolution,
    "train_data_dir": _folder("dataset.path", "dataset.repeats", "dataset.trigger"),
}
"""The options whose value has another form in a plan."""
