"""Brings to a machine what a run needs: its images with captions and masks, and its model files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.jobs.hosts.machine import Machine
from trainer_core.remote.machines import sending
from trainer_core.remote.machines.names import check_name
from trainer_core.remote.machines.sending import Item
from trainer_core.remote.runs.outgoing import ImageFiles, Outgoing
from trainer_core.remote.runs.transfers import Transfers
from trainer_core.text import printable, size

Say = Callable[[str], None]


def bring(machine: Machine, outgoing: Outgoing, say: Say, transfers: Transfers) -> dict[str, str]:
    """Where the machine has each folder of images, by its place in the plan, and each model, by its path here.

    What is missing there is sent; `transfers` are told how far that is.
    The name of an image folder or a model stays, because it can have a meaning. What is no file here, as an id of the Hub, is passed on.

    Raises:
        MachineError: the machine cannot be reached.
        JobError: a file cannot be read or sent, or the disk there is too small.
    """
    at: dict[str, str] = {}
    trees: dict[str, dict[str, Path]] = {}
    for images in outgoing.images:
        trees[images.path.key] = dict(_images(images))
    for model in outgoing.models:
        found = dict(_model(places.typed(model.path)))
        if found:
            trees[model.path] = found
        else:
            at[model.path] = model.path
    for tree in trees.values():
        for name in tree:
            check_name(name)
    files = sending.items(path for tree in trees.values() for path in tree.values())
    done = sending.send(machine, files.values(), say, transfers)
    say(f"{size(done.sent_bytes)} were sent to {machine}; {size(done.there_bytes)} were there already.")
    named: list[dict[str, Item]] = [{name: files[path] for name, path in tree.items()} for tree in trees.values()]
    for path, tree, folder in zip(trees, named, sending.arranged(machine, named), strict=True):
        # Every name begins with that of the file or folder which the plan names.
        first = next(iter(tree), "").partition("/")[0]
        at[path] = f"{folder}/{first}" if first else folder
    return at


def _images(images: ImageFiles) -> Iterator[tuple[str, Path]]:
    top = _top(images.folder)
    for name, path in images.sources():
        yield f"{top}/{name}", path


def _model(path: Path) -> Iterator[tuple[str, Path]]:
    """The file, or the files of the folder, by their names there; nothing if it is neither."""
    if path.is_file():
        yield path.name, path
        return
    for where, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(where, name)
            if not name.startswith(".") and file.is_file():
                yield f"{_top(path)}/{file.relative_to(path).as_posix()}", file


def _top(folder: Path) -> str:
    name = folder.absolute().name
    if not name:
        raise JobError(f"{printable(str(folder))} cannot be sent: it is the whole disk.", "Name a folder.")
    return name
