"""Brings images with their captions into a dataset, from files, folders and zips, as one edit that can be undone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from trainer_core.curation import archives, contents
from trainer_core.curation.archives import IMAGES, TEXTS, Names
from trainer_core.curation.journal import Change, Journal
from trainer_core.curation.records import Edit
from trainer_core.datasets import listing
from trainer_core.errors import DatasetError
from trainer_core.text import printable

INCOMING = "incoming"


@dataclass(frozen=True)
class Imported:
    """What came into a dataset. `known` are the images that were there already, `left_out` what was not taken, as (name, reason).

    `renamed` are the files that got another name, as (name before, name now); `edit` is None if nothing is new.
    """

    edit: Edit | None
    images: int = 0
    captions: int = 0
    known: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass
class _Collected:
    """Files that lie beside the dataset and wait: where each is, and the path that it shall have."""

    files: list[tuple[Path, PurePosixPath]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def add(
    root: Path,
    sources: Sequence[Path],
    went_on: Callable[[int, int], None] = lambda _, __: None,
    limits: archives.Limits = archives.USUAL,
) -> Imported:
    """Copies images and captions into the dataset in a folder, which is made if needed. The sources are not changed.

    An image that the dataset has already, byte by byte, is not copied; one whose name is taken gets a number, and its caption
    the same. Folders inside of a source stay, so that kohya's names such as 10_elena keep their meaning.

    Args:
        root: the folder of the dataset.
        sources: images, captions, zips, and folders of them.
        went_on: gets how many of the files of a source were read, and how many there are.
        limits: what a zip may contain.

    Raises:
        DatasetError: a source cannot be read, a zip is not safe, or the dataset cannot be written; nothing is changed then.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"{printable(str(root), 200)} cannot be made: {error.strerror or error}.") from error
    journal = Journal(root)
    journal.recover()
    waiting = contents.own_folder(root) / INCOMING / f"{os.getpid()}-{os.urandom(4).hex()}"
    try:
        found = _Collected()
        for number, source in enumerate(sources):
            _collect(source, waiting / str(number), root, found, went_on, limits)
        return _apply(journal, found, sources)
    except OSError as error:
        raise DatasetError(f"Nothing was changed: {error.strerror or error}.", "Free some space.") from error
    finally:
        shutil.rmtree(waiting, ignore_errors=True)


def _collect(
    source: Path,
    waiting: Path,
    root: Path,
    found: _Collected,
    went_on: Callable[[int, int], None],
    limits: archives.Limits,
) -> None:
    """Copies what a source has to the folder where it waits."""
    if archives.is_zip(source):
        unpacked = archives.unpack(source, waiting, limits, went_on)
        found.left_out += unpacked.left_out
        found.files += [(waiting / name, PurePosixPath(name)) for name in unpacked.files]
        return
    if source.is_dir():
        if os.path.realpath(source) == os.path.realpath(root):
            raise DatasetError("The folder is the dataset itself.", "Choose another folder.")
        whole = [path for path in listing.list_files(source, follows_links=False).files if path.is_file()]
        named = [(path, PurePosixPath(path.relative_to(source).as_posix())) for path in whole]
    elif source.is_file():
        named = [(source, PurePosixPath(source.name))]
    else:
        raise DatasetError(f"There is no file {printable(str(source), 200)}.")
    waiting.mkdir(parents=True)
    for number, (path, name) in enumerate(named):
        if any(part.startswith(".") for part in name.parts):
            continue
        if name.suffix.casefold() not in IMAGES | TEXTS | archives.TABLES:
            found.left_out.append((printable(str(name), 200), "it is neither an image nor a caption"))
            continue
        place = waiting / str(number)
        try:
            shutil.copy2(path, place)
        except PermissionError:
            found.left_out.append((printable(str(name), 200), "it cannot be read: no permission"))
            continue
        found.files.append((place, name))
        went_on(number + 1, len(named))


def _apply(journal: Journal, found: _Collected, sources: Sequence[Path]) -> Imported:
    """Moves what waits into the dataset, as one edit."""
    root = journal.root
    there = _there(root)
    by_mark = {mark: name for name, mark in _marks(root, there, found)}
    names, changes, known, renamed = Names(there), [], [], []
    left: set[str] = set()
    for place, path in sorted(found.files, key=lambda one: (one[1].suffix.casefold() in TEXTS, str(one[1]))):
        is_image = path.suffix.casefold() in IMAGES
        if is_image and contents.mark(place) in by_mark:
            known.append(path.as_posix())
            left.add(path.with_suffix("").as_posix())
            continue
        if not is_image and path.with_suffix("").as_posix() in left:
            # The caption that the image has here may be the user's own.
            found.left_out.append((printable(str(path), 200), "its image is in the dataset already"))
            continue
        name = names.of(path)
        if is_image:
            by_mark[contents.mark(place)] = name.as_posix()
        if name != path:
            renamed.append((path.as_posix(), name.as_posix()))
        changes.append(Change(name.as_posix(), place, contents.NOTHING))
    count = sum(PurePosixPath(change.path).suffix.casefold() in IMAGES for change in changes)
    title = f"Add {count:,} {'image' if count == 1 else 'images'} from {_told(sources)}"
    edit = journal.apply("import", title, changes) if changes else None
    captions = sum(PurePosixPath(change.path).suffix.casefold() in TEXTS for change in changes)
    refused = edit.refused if edit is not None else ()
    return Imported(edit, count, captions, tuple(known), tuple(renamed), (*found.left_out, *refused))


def _there(root: Path) -> list[str]:
    """The files that the dataset has, relative to it."""
    return [path.relative_to(root).as_posix() for path in listing.list_files(root, follows_links=False).files]


def _marks(root: Path, there: Iterable[str], found: _Collected) -> Iterable[tuple[str, str]]:
    """The marks of those images in the dataset that are as large as one that comes."""
    sizes = {place.stat().st_size for place, _ in found.files}
    for name in there:
        path = root / name
        if path.suffix.casefold() in IMAGES and path.is_file() and path.stat().st_size in sizes:
            yield name, contents.mark(path)


def _told(sources: Sequence[Path]) -> str:
    named = printable(sources[0].name or str(sources[0]), 60)
    return named if len(sources) == 1 else f"{named} and {len(sources) - 1} more"
