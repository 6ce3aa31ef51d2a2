"""Deletes files and folders into a trash from which they can be restored: one folder for each deletion, with a record.

It is in Easel's home, or, for a root on another disk, in that root, so that a deletion is a rename. Only `empty` removes anything.
Runs go to the trash of the runs, as in History (`trainer_core.training.trash`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer_core import places
from trainer_core.errors import FilesError, JobError, wrong_use
from trainer_core.files import open_own, write_whole
from trainer_core.keeping import bounds, carrying, listing, names, refusals, uses
from trainer_core.keeping.bounds import Spot
from trainer_core.text import printable

HIDDEN = ".easel-deleted"
RECORD, KEPT = "deleted.json", "kept"
LONGEST_RECORD_BYTES = 1 << 16


@dataclass(frozen=True)
class Deleted:
    """Something in the trash: its id, what it was and where, when it was deleted (Unix time), and its size."""

    id: str
    name: str
    spot: Spot
    deleted_s: float
    size_bytes: int
    is_folder: bool
    folder: Path


def delete(spot: Spot) -> Deleted | None:
    """Moves a file or folder to the trash; None for a run, which goes to the trash of the runs.

    Raises:
        FilesError: it is a root, lies outside, is needed now, or cannot be moved.
    """
    if not spot.parts:
        raise wrong_use(FilesError(f"{spot.root.title} is the whole folder.", "Delete what is in it."))
    if spot.root.is_managed:
        _delete_run(spot)
        return None
    path = bounds.changeable(spot)
    found = listing.entry(spot)
    uses.check(spot)
    size = listing.measured(path).size_bytes
    is_folder = found.is_folder and not found.link
    failures: list[OSError] = []
    # Some disks of containers cannot rename a folder that came with the machine: it is copied then.
    for around, carry in [*((each, carrying.put) for each in _around(spot)), (spot.root.path / HIDDEN, carrying.carry)]:
        try:
            return _into(around, spot, path, size, carry, is_folder=is_folder)
        except OSError as error:
            failures.append(error)
    raise refusals.refusal(spot.text, "deleted", failures[-1], path.parent)


def listed() -> list[Deleted]:
    """What is in the trash, the last deletion first."""
    known = {root.id: root for root in bounds.roots()}
    found = [one for around in _all_around() for one in _read(around, known)]
    return sorted(found, key=lambda one: (one.deleted_s, one.id), reverse=True)


def find(name: str) -> Deleted:
    """The deletion with this id, or the last one of this name.

    Raises:
        FilesError: there is none.
    """
    known = listed()
    for one in [
        *(each for each in known if each.id == name),
        *(each for each in known if name in {each.name, each.spot.text}),
    ]:
        return one
    raise wrong_use(
        FilesError(
            f"Nothing called {printable(name, 100)!r} is in the trash.", "`easel files trash` shows what is in it."
        )
    )


def restore(one: Deleted) -> Spot:
    """Moves something back to where it was, under a free name if its own is taken by now; returns where it is.

    Raises:
        FilesError: it cannot be moved.
    """
    try:
        bounds.make_folders(one.spot)
        target = names.take(
            one.spot.path, lambda free: carrying.carry(one.folder / KEPT, free), is_folder=one.is_folder
        )
    except OSError as error:
        raise refusals.refusal(one.name, "restored", error, one.spot.path.parent) from error
    shutil.rmtree(one.folder, ignore_errors=True)
    return one.spot.parent.child(target.name)


def empty(which: Sequence[Deleted]) -> int:
    """Removes these for good; returns how many bytes they had.

    Raises:
        FilesError: one cannot be removed; those before it are.
    """
    total = 0
    for one in which:
        try:
            # rmtree removes links and not what they lead to.
            shutil.rmtree(one.folder)
        except OSError as error:
            raise refusals.refusal(one.name, "removed", error, one.folder) from error
        total += one.size_bytes
    return total


def _delete_run(spot: Spot) -> None:
    from trainer_core.training import trash

    bounds.inside(spot)
    if len(spot.parts) != 1:
        bounds.changeable(spot)
    try:
        trash.delete(spot.path)
    except JobError as error:
        raise FilesError(error.message, error.hint) from error


def _around(spot: Spot) -> Iterator[Path]:
    """The folders of the trash to try: in Easel's home if that is on the same disk, then in the root."""
    home, own = places.deleted_files(), spot.root.path / HIDDEN
    with contextlib.suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
        if home.stat().st_dev == spot.path.parent.stat().st_dev:
            yield home
    yield own


def _all_around() -> list[Path]:
    found = [places.deleted_files(), *(root.path / HIDDEN for root in bounds.roots())]
    return [each for each in found if each.is_dir() and not each.is_symlink()]


def _into(
    around: Path, spot: Spot, path: Path, size: int, carry: Callable[[Path, Path], None], *, is_folder: bool
) -> Deleted:
    now = time.time()
    key = f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}-{os.urandom(3).hex()}"
    folder = around / key
    folder.mkdir(parents=True)
    is_done = False
    try:
        record = {"root": spot.root.id, "parts": spot.parts, "deleted": now, "bytes": size, "folder": is_folder}
        write_whole(folder / RECORD, json.dumps(record) + "\n", durable=True)
        # Without the ending of its name: other programs that search this disk for models do not offer it.
        carry(path, folder / KEPT)
        is_done = True
    finally:
        # What was copied here while a part of the original went is the only whole one: it stays in the trash.
        if not is_done and not os.path.lexists(folder / KEPT):
            shutil.rmtree(folder, ignore_errors=True)
    return Deleted(key, spot.name, spot, now, size, is_folder, folder)


def _read(around: Path, known: dict[str, bounds.Root]) -> Iterator[Deleted]:
    for folder in sorted(around.iterdir()):
        if folder.is_symlink() or not os.path.lexists(folder / KEPT):
            continue
        try:
            with open_own(folder / RECORD) as file:
                record = json.loads(file.read(LONGEST_RECORD_BYTES))
            root = known[record["root"]]
            parts = tuple(map(str, record["parts"]))
            spot = bounds.Spot(root, parts)
            bounds.inside(spot)
            deleted, size = float(record["deleted"]), int(record["bytes"])
            is_folder = record["folder"] is True
        except (OSError, ValueError, KeyError, TypeError, RecursionError, FilesError):
            continue
        if parts:
            yield Deleted(folder.name, spot.name, spot, deleted, size, is_folder, folder)
