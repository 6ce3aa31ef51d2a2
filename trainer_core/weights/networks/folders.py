"""A folder in the diffusers layout with new numbers in some of its weights; every other file of it is copied."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from trainer_core.errors import WeightsError
from trainer_core.models import header
from trainer_core.models.header import Header
from trainer_core.models.header.tensors import shown
from trainer_core.weights import new_folder, writing
from trainer_core.weights.places import Place
from trainer_core.weights.writing import Entry, Progress

SMALL = (".json", ".txt", ".model", ".md", ".jinja")
"""The endings of the files beside the weights. Weights that the folder does not use, such as those of another variant, are left out."""
MOST_SMALL_BYTES = 64 << 20
"""The largest of these files that is copied."""


def small(model: Header) -> dict[str, Path]:
    """The files beside the weights, by their paths below the folder; links to folders are not followed."""
    found: dict[str, Path] = {}
    for place, folders, names in os.walk(model.path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            is_small = name.startswith("LICENSE") or path.suffix in SMALL
            if is_small and path.is_file() and path.stat().st_size <= MOST_SMALL_BYTES:
                found[str(path.relative_to(model.path))] = path
    return found


def check(model: Header, changed: Iterable[str]) -> None:
    """Checks that the files in which weights change can be written.

    Raises:
        WeightsError: one is no safetensors file.
    """
    components = {name.partition("/")[0] for name in changed}
    for file in model.files:
        if file.parent.name in components and file.suffix != ".safetensors":
            raise WeightsError(f"{shown(file)} is not a safetensors file.", "Convert the folder to safetensors first.")


def size_bytes(model: Header) -> int:
    """The size of the new folder, which is that of what is taken from the old one."""
    return sum(path.stat().st_size for path in (*model.files, *small(model).values()))


def write(
    target: Path,
    model: Header,
    changed: Mapping[str, Entry],
    metadata: Callable[[Header], Mapping[str, str]],
    progress: Progress,
    check_unchanged: Callable[[], None],
) -> None:
    """Writes the folder. `changed` has the tensors with new numbers, by their names in the folder.

    `metadata` gives that of a file with new numbers, from its old header.

    Raises:
        WeightsError: the target exists, the disk is too full, or a source has changed meanwhile.
        OSError: a file cannot be read or written.
    """
    whole = len(model.tensors), sum(info.size_bytes for info in model.tensors.values())
    before = (0, 0)
    with new_folder.making(target, size_bytes(model), check_unchanged) as part:
        new_folder.add(part, {}, small(model))
        for file in model.files:
            own, component = header.read_file(file), file.parent.name
            entries = list(_entries(file, own, component, changed))
            is_changed = any(f"{component}/{name}" in changed for name in own.tensors)
            path = part / component / file.name
            path.parent.mkdir(exist_ok=True)
            if is_changed or own.format == "safetensors":
                writing.write(
                    path,
                    entries,
                    metadata(own) if is_changed else own.metadata,
                    _after(progress, before, whole),
                    lambda: None,
                )
            else:
                new_folder.add(part, {}, {f"{component}/{file.name}": file})
            before = before[0] + len(entries), before[1] + sum(entry.size for entry in entries)


def _entries(file: Path, own: Header, component: str, changed: Mapping[str, Entry]) -> Iterator[Entry]:
    for name, info in own.tensors.items():
        new = changed.get(f"{component}/{name}")
        place = Place(file, info.start_bytes, info.size_bytes)
        yield dataclasses.replace(new, name=name) if new else Entry(name, info.dtype, info.shape, place)


def _after(progress: Progress, before: tuple[int, int], whole: tuple[int, int]) -> Progress:
    """What hears of the progress of one file as part of the whole."""
    return lambda tensors, _, done, __: progress(before[0] + tensors, whole[0], before[1] + done, whole[1])
