"""Renames and moves files and folders, and makes new folders. Nothing is replaced: a taken name is refused, or gets a number."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from pathlib import Path

from trainer_core.errors import FilesError, wrong_use
from trainer_core.keeping import bounds, carrying, listing, names, refusals, uses
from trainer_core.keeping.bounds import Spot
from trainer_core.keeping.carrying import Going
from trainer_core.text import printable


def new_folder(where: Spot, name: str) -> Spot:
    """Makes a folder in a folder.

    Raises:
        FilesError: the name is taken or cannot be one, or the folder lies outside or cannot be changed.
    """
    folder = bounds.folder(where)
    made = where.child(names.checked(name))
    try:
        (folder / made.name).mkdir()
    except FileExistsError as error:
        raise _taken(made) from error
    except OSError as error:
        raise refusals.refusal(made.text, "made", error, folder) from error
    return made


def rename(spot: Spot, name: str) -> Spot:
    """Gives a file or folder another name in its folder. A name without the ending of the file gets that ending.

    Raises:
        FilesError: the name is taken or cannot be one, or the file is needed now, lies outside, or cannot be changed.
    """
    path = _movable(spot)
    wanted = names.checked(name)
    ending = "" if listing.entry(spot).is_folder else path.suffix
    if ending and not Path(wanted).suffix:
        wanted = names.checked(f"{wanted}{ending}")
    if wanted == spot.name:
        return spot
    target = spot.parent.child(wanted)
    uses.check(spot)
    try:
        if wanted.casefold() == spot.name.casefold() and path.with_name(wanted).exists():
            _other_case(path, wanted)
        else:
            carrying.put(path, path.with_name(wanted))
    except FileExistsError as error:
        raise _taken(target) from error
    except OSError as error:
        raise refusals.refusal(spot.text, "renamed", error, path.parent) from error
    _follow(spot, target)
    return target


def move(
    spots: Sequence[Spot], where: Spot, going: Going | None = None, *, keeps_both: bool = False
) -> tuple[Spot, ...]:
    """Moves files and folders into a folder, and returns where they are. With `keeps_both` a taken name gets a number.

    Raises:
        FilesError: a name is taken, one of them is needed now, lies outside, or contains the folder. Those before it are moved.
        FilesStopped: it was stopped; likewise.
    """
    folder = bounds.folder(where)
    going = going or Going()
    for spot in spots:
        path = _movable(spot)
        listing.entry(spot)
        if where.path == path or where.path.is_relative_to(path):
            raise wrong_use(
                FilesError(f"{printable(spot.name, 200)} cannot be moved into itself.", "Choose another folder.")
            )
        if not keeps_both and (folder / spot.name).exists() and spot.parent != where:
            raise _taken(where.child(spot.name))
    uses.check(*spots)
    going.total = sum(listing.measured(spot.path).size_bytes for spot in spots)
    return tuple(_moved(spot, where, folder, going, keeps_both=keeps_both) for spot in spots)


def _moved(spot: Spot, where: Spot, folder: Path, going: Going, *, keeps_both: bool) -> Spot:
    if spot.parent == where:
        return spot
    path = bounds.changeable(spot)
    is_folder = path.is_dir() and not path.is_symlink()
    try:
        target = folder / spot.name
        if keeps_both:
            target = names.take(target, lambda free: carrying.carry(path, free, going), is_folder=is_folder)
        else:
            carrying.carry(path, target, going)
    except FileExistsError as error:
        raise _taken(where.child(spot.name)) from error
    except OSError as error:
        protected = next((each for each in (path.parent, folder) if not refusals.can_change(each)), folder)
        raise refusals.refusal(spot.text, "moved", error, protected) from error
    moved = where.child(target.name)
    _follow(spot, moved)
    return moved


def _movable(spot: Spot) -> Path:
    if not spot.parts:
        raise wrong_use(FilesError(f"{spot.root.title} is one of Easel's folders, and stays where it is.", ""))
    return bounds.changeable(spot)


def _other_case(path: Path, wanted: str) -> None:
    """Renames to the same letters in other case, which some file systems take for the same name."""
    if not path.samefile(path.with_name(wanted)):
        raise FileExistsError(errno.EEXIST, "there is a file or folder with this name", str(path.with_name(wanted)))
    path.rename(path.with_name(wanted))


def _follow(old: Spot, new: Spot) -> None:
    """A dataset that was opened lately stays known under its new path."""
    from trainer_core.curation import known

    with contextlib.suppress(OSError, ValueError):
        for folder in reversed(known.recent()):
            if folder.is_relative_to(old.path):
                known.remember(new.path / folder.relative_to(old.path))


def _taken(target: Spot) -> FilesError:
    return FilesError(
        f"There is a file or folder called {printable(target.name, 200)} in {printable(target.parent.text, 200)} already.",
        "Choose another name, or delete that one first.",
    )
