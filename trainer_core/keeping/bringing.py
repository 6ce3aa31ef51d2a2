"""Brings files and folders of this machine into a folder of Easel: copied, checked and, by choice, unpacked. The originals stay."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trainer_core import places
from trainer_core.errors import FilesError, wrong_use
from trainer_core.keeping import bounds, carrying, doubts, listing, names, recognising, refusals, trash, unpacking
from trainer_core.keeping.bounds import Spot
from trainer_core.keeping.carrying import Going
from trainer_core.keeping.receiving import Choice
from trainer_core.keeping.recognising import Recognised
from trainer_core.text import printable


@dataclass(frozen=True)
class Brought:
    """What came in: where it is, its size, the SHA-256 of a file ("" for a folder), and what it is if it is a model."""

    spot: Spot
    size_bytes: int
    sha256: str
    recognised: Recognised | None = None
    unpacked: unpacking.Unpacked | None = None
    is_same: bool = False
    """Whether the same file was there already, so that nothing was copied."""
    doubt: str = ""
    """Why it cannot be what its name says, such as "It is empty: 0 bytes."."""
    renamed: str = ""
    """What was changed in its name."""


def bring(
    sources: Sequence[str],
    where: Spot | None = None,
    going: Going | None = None,
    *,
    choice: Choice = "both",
    unpacks: bool = False,
) -> list[Brought]:
    """Copies files and folders. Without a folder each model goes to the others of its role.

    A file that is there already under its name with the same content is not copied again. With `choice` "replace" one of that name
    goes to the trash. With `unpacks` a zip is unpacked, and its copy removed.

    Raises:
        FilesError: a source does not exist, or the folder lies outside, cannot be changed, or has no room. Those before it came in.
        HeaderError: without a folder, a source is no model.
        FilesStopped: it was stopped; likewise.
    """
    going = going or Going()
    paths = [places.typed(source) for source in sources]
    for path in paths:
        if not path.exists():
            raise wrong_use(FilesError(f"{printable(str(path), 300)} does not exist.", "Check the path."))
    going.total = sum(listing.measured(Path(os.path.realpath(path))).size_bytes for path in paths)
    return [_one(Path(os.path.realpath(path)), path.name, where, going, choice, unpacks=unpacks) for path in paths]


def _one(source: Path, name: str, where: Spot | None, going: Going, choice: Choice, *, unpacks: bool) -> Brought:
    where = where or recognising.place_for(source)
    folder = _made(where)
    safe = names.arriving(name or source.name)
    if safe is None:
        raise FilesError(f"{printable(name, 200)} cannot come in: {names.unfit(name)}.", "Rename it first.")
    target = folder / safe.name
    if _is_inside(folder, source):
        raise wrong_use(FilesError(f"{printable(name, 200)} contains the folder that it would go into.", ""))
    carrying.check_room(folder, listing.measured(source).size_bytes)
    if source.is_file() and target.is_file() and not target.is_symlink() and _same(source, target):
        going.add(source.stat().st_size)
        spot = where.child(target.name)
        return replace(_arrived(spot, unpacks=False), is_same=True)
    if choice == "replace" and os.path.lexists(target):
        trash.delete(where.child(target.name))
    try:
        spot = where.child(carrying.copy(source, target, going).name)
    except OSError as error:
        raise refusals.refusal(name, "copied", error, folder) from error
    return replace(_arrived(spot, unpacks=unpacks), renamed=names.changed(name or source.name, safe))


def _arrived(spot: Spot, *, unpacks: bool) -> Brought:
    size = listing.measured(spot.path).size_bytes
    if spot.path.is_dir():
        return Brought(spot, size, "", recognising.recognise(spot))
    digest = carrying.sha256(spot.path)
    if unpacks and unpacking.is_zip(spot):
        made = unpacking.unpack(spot)
        spot.path.unlink()
        return Brought(made.spot, made.size_bytes, digest, None, made)
    return Brought(spot, size, digest, recognising.recognise(spot), doubt=doubts.doubt(spot))


def _made(where: Spot) -> Path:
    """The folder; one of Easel's own, such as models/loras, is made."""
    if where.parts:
        bounds.make_folders(where)
        if not os.path.lexists(where.path):
            where.path.mkdir()
    return bounds.folder(where)


def _is_inside(folder: Path, source: Path) -> bool:
    return source.is_dir() and Path(os.path.realpath(folder)).is_relative_to(source)


def _same(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and carrying.sha256(one) == carrying.sha256(other)
