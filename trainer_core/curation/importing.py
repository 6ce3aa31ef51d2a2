"""Brings images with their captions into a dataset, from files, folders and zips, as one edit that can be undone."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
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
NAMED = 3
"""How many files an error names."""


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
    """Files that lie beside the dataset and wait: where each is, the path that it shall have, and the number of its source."""

    files: list[tuple[Path, PurePosixPath, int]] = field(default_factory=list)
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
    is_new = not root.exists()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(f"{printable(str(root), 200)} cannot be made: {error.strerror or error}.") from error
    journal = Journal(root)
    journal.recover()
    incoming = contents.own_folder(root) / INCOMING
    waiting = incoming / f"{os.getpid()}-{os.urandom(4).hex()}"
    try:
        found = _Collected()
        groups: dict[Path, int] = {}
        for number, source in enumerate(sources):
            # Single files of one folder belong together: an image and its caption.
            is_single = source.is_file() and not archives.is_zip(source)
            group = groups.setdefault(source.parent, number) if is_single else number
            for place, path in _collect(source, waiting / str(number), root, found.left_out, went_on, limits):
                found.files.append((place, path, group))
        if not found.files:
            left = "; ".join(f"{name}: {reason}" for name, reason in found.left_out[:NAMED])
            raise DatasetError(f"There is no image or caption in {_told(sources)}. {left}".strip())
        return _apply(journal, found, sources)
    except OSError as error:
        raise DatasetError(f"Nothing was changed: {error.strerror or error}.", "Free some space.") from error
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
        # What was made for nothing: a folder is removed only if it is empty.
        for folder in (incoming, incoming.parent, *((root,) if is_new else ())):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _collect(
    source: Path,
    waiting: Path,
    root: Path,
    left_out: list[tuple[str, str]],
    went_on: Callable[[int, int], None],
    limits: archives.Limits,
) -> Iterator[tuple[Path, PurePosixPath]]:
    """Copies what a source has to the folder where it waits."""
    if archives.is_zip(source) or (source.suffix.casefold() == ".zip" and source.is_file()):
        unpacked = archives.unpack(source, waiting, limits, went_on)
        left_out += unpacked.left_out
        yield from ((waiting / name, PurePosixPath(name)) for name in unpacked.files)
        return
    named = _files(source, root)
    waiting.mkdir(parents=True)
    for number, (path, name) in enumerate(named):
        if any(part.startswith(".") for part in name.parts):
            continue
        if name.suffix.casefold() not in IMAGES | TEXTS | archives.TABLES:
            left_out.append((printable(str(name), 200), "it is neither an image nor a caption"))
            continue
        place = waiting / str(number)
        try:
            shutil.copy2(path, place)
        except PermissionError:
            left_out.append((printable(str(name), 200), "it cannot be read: no permission"))
            continue
        yield place, name
        went_on(number + 1, len(named))


def _files(source: Path, root: Path) -> list[tuple[Path, PurePosixPath]]:
    """The files of a source, and their paths inside of it."""
    if source.is_dir():
        if os.path.realpath(source) == os.path.realpath(root):
            raise DatasetError("The folder is the dataset itself.", "Choose another folder.")
        whole = [path for path in listing.list_files(source, follows_links=False).files if path.is_file()]
        return [(path, PurePosixPath(path.relative_to(source).as_posix())) for path in whole]
    if source.is_file():
        return [(source, PurePosixPath(source.name))]
    raise DatasetError(f"There is no file {printable(str(source), 200)}.")


def _apply(journal: Journal, found: _Collected, sources: Sequence[Path]) -> Imported:
    """Moves what waits into the dataset, as one edit."""
    root = journal.root
    there = _there(root)
    by_mark = {mark: name for name, mark in _marks(root, there, found)}
    names, taken, changes, known, renamed = Names(there), set(there), [], [], []
    # An image that is in the dataset already, by source and name without extension, and its name there.
    twins: dict[tuple[int, str], str] = {}
    captions = {(source, _stem(path)) for _, path, source in found.files if _is_text(path)}
    # Of two equal images, the one with a caption comes first.
    for place, path, source in sorted(
        found.files, key=lambda one: (_is_text(one[1]), (one[2], _stem(one[1])) not in captions, one[2], one[1])
    ):
        key = source, _stem(path)
        if path.suffix.casefold() in IMAGES:
            mark = contents.mark(place)
            if mark in by_mark:
                known.append(path.as_posix())
                twins[key] = by_mark[mark]
                continue
            name = names.of(path, source)
            by_mark[mark] = name.as_posix()
        elif key in twins:
            name = PurePosixPath(twins[key]).with_suffix(path.suffix)
            if name.as_posix() in taken:
                # The caption that the image has here may be the user's own.
                found.left_out.append(
                    (printable(str(path), 200), "its image is in the dataset already, with a caption")
                )
                continue
        else:
            name = names.of(path, source)
        if name != path:
            renamed.append((path.as_posix(), name.as_posix()))
        taken.add(name.as_posix())
        changes.append(Change(name.as_posix(), place, contents.NOTHING))
    count = sum(PurePosixPath(change.path).suffix.casefold() in IMAGES for change in changes)
    title = f"Add {count:,} {'image' if count == 1 else 'images'} from {_told(sources)}"
    edit = journal.apply("import", title, changes) if changes else None
    texts = sum(_is_text(PurePosixPath(change.path)) for change in changes)
    refused = edit.refused if edit is not None else ()
    return Imported(edit, count, texts, tuple(known), tuple(renamed), (*found.left_out, *refused))


def _is_text(path: PurePosixPath) -> bool:
    return path.suffix.casefold() in TEXTS


def _stem(path: PurePosixPath) -> str:
    return path.with_suffix("").as_posix()


def _there(root: Path) -> list[str]:
    """The files that the dataset has, relative to it."""
    return [path.relative_to(root).as_posix() for path in listing.list_files(root, follows_links=False).files]


def _marks(root: Path, there: Iterable[str], found: _Collected) -> Iterable[tuple[str, str]]:
    """The marks of those images in the dataset that are as large as one that comes."""
    sizes = {place.stat().st_size for place, _, _ in found.files}
    for name in there:
        path = root / name
        if path.suffix.casefold() in IMAGES and path.is_file() and path.stat().st_size in sizes:
            yield name, contents.mark(path)


def _told(sources: Sequence[Path]) -> str:
    named = printable(sources[0].name or str(sources[0]), 60)
    return named if len(sources) == 1 else f"{named} and {len(sources) - 1} more"
