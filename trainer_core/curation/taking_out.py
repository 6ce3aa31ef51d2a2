"""Takes images out of a dataset, with their captions: an undo brings them back. Rejected ones can be had in a folder beside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainer_core import places
from trainer_core.curation import contents, gathering
from trainer_core.curation.journal import Change, Journal
from trainer_core.curation.records import Edit
from trainer_core.errors import DatasetError
from trainer_core.text import printable

ENDING = "_rejected"
"""The folder beside a dataset: inside of it, an engine that reads sub-folders would train what is in there."""


@dataclass(frozen=True)
class SetAside:
    """What was set aside: the edit, and the folder in which the files are now."""

    edit: Edit
    folder: Path
    images: int


def changes(root: Path, paths: Iterable[str], ending: str = ".txt") -> list[Change]:
    """The changes that take images out of a dataset, with those captions that no image which stays has, too."""
    gone = set(paths)
    kept = {PurePosixPath(path).with_suffix("") for path in gathering.images(root) if path not in gone}
    found = [Change(path, None) for path in sorted(gone)]
    named = {
        one for path in gone for one in (PurePosixPath(path).with_suffix(ending), PurePosixPath(f"{path}{ending}"))
    }
    found += [
        Change(one.as_posix(), None)
        for one in sorted(named)
        if one.with_suffix("") not in kept and (root / one).is_file()
    ]
    return found


def set_aside(root: Path, paths: Iterable[str], ending: str = ".txt") -> SetAside | None:
    """Moves images with their captions into the folder beside the dataset; None if there are none.

    An undo of the edit brings them back into the dataset, and leaves them in the folder beside, too.

    Raises:
        DatasetError: a path leads out of the dataset, the folder cannot be written, or as with `Journal.apply`.
    """
    wanted = [path for path in dict.fromkeys(paths) if contents.inside(root, path).is_file()]
    if not wanted:
        return None
    leaving = changes(root, wanted, ending)
    whole = places.real(Path(root))
    beside = whole.with_name(f"{whole.name}{ENDING}")
    made = _linked(root, [change.path for change in leaving], beside)
    edit = None
    try:
        title = f"Set {len(wanted):,} rejected {'image' if len(wanted) == 1 else 'images'} aside"
        edit = Journal(root).apply("set-aside", title, leaving)
    finally:
        if edit is None:
            for file in made:
                file.unlink(missing_ok=True)
    return SetAside(edit, beside, len(wanted)) if edit is not None else None


def _linked(root: Path, paths: Iterable[str], beside: Path) -> list[Path]:
    """Makes the same files in the folder beside, none in place of another; returns them."""
    made: list[Path] = []
    try:
        if beside.is_symlink():
            raise DatasetError(
                f"{printable(beside.name, 100)} beside the dataset is a link, so nothing is written there."
            )
        for path in paths:
            target = _free(beside / path)
            target.parent.mkdir(parents=True, exist_ok=True)
            contents.link_or_copy(root / path, target)
            made.append(target)
    except OSError as error:
        for file in made:
            file.unlink(missing_ok=True)
        raise DatasetError(f"Nothing was set aside: {error.strerror or error}.") from error
    return made


def _free(target: Path) -> Path:
    """The path, or one with a number if there is another file."""
    number, free = 2, target
    while free.is_symlink() or free.exists():
        free = target.with_name(f"{target.stem} ({number}){target.suffix}")
        number += 1
    return free
