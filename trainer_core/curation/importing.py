"""Brings images with their captions and masks into a dataset, from files, folders, zips and tars, as one edit that can be undone."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from trainer_core.curation import contents, converting, originals, pairing
from trainer_core.curation.collecting import Collector
from trainer_core.curation.incoming_names import Names
from trainer_core.curation.journal import Change, Journal
from trainer_core.curation.leftovers import INCOMING, Scratch
from trainer_core.curation.pairing import Arrived
from trainer_core.curation.records import Edit
from trainer_core.curation.unpacking import IMAGES, ON, USUAL, Going, Limits
from trainer_core.datasets import listing
from trainer_core.errors import DatasetError
from trainer_core.text import printable

MOST_BLANK_BYTES = 4096
NAMED = 3
"""How many files an error names."""


@dataclass(frozen=True)
class Wishes:
    """How files come in: the extension of captions, and what is converted, by the ids in `converting.KINDS`.

    `origin` names the source in the list of edits, where the files themselves do not.
    """

    ending: str = ".txt"
    convert: Collection[str] = ()
    origin: str = ""
    limits: Limits = USUAL


@dataclass(frozen=True)
class Imported:
    """What came into a dataset. `known` are the images that were there already, `left_out` what was not taken, as (name, reason).

    `renamed` are the files that got another name, as (name before, name now); `edit` is None if nothing is new. `converted` are the
    images that were converted on the way, as (name before, name now); `originals` keeps what they were. `notes` are sentences.
    A caption file without text is no caption.
    """

    edit: Edit | None
    images: int = 0
    captions: int = 0
    masks: int = 0
    known: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    converted: tuple[tuple[str, str], ...] = ()


def add(root: Path, sources: Sequence[Path], wishes: Wishes = Wishes(), going: Going = ON) -> Imported:
    """Copies images, captions and masks into the dataset in a folder, which is made if needed. The sources are not changed.

    An image that the dataset has already, byte by byte, is not copied; one whose name is taken gets a number, and its caption
    and mask the same. Folders inside of a source stay, so that kohya's names such as 10_elena keep their meaning.

    Args:
        root: the folder of the dataset.
        sources: images, captions, zips, tars, and folders of them.
        wishes: how they come in.
        going: gets how much of a source was read, and of how much.

    Raises:
        DatasetError: a source cannot be read, it lies in the dataset or around it, an archive is not safe, or the dataset cannot be written; nothing is changed then.
        DatasetCancelled: it was stopped; likewise.
    """
    with Incoming(root, sources, wishes, going) as ready:
        return ready.apply(wishes.convert)


class Incoming:
    """What waits beside a dataset to come into it, so that a user can look before: `preview` says what `apply` would do.

    It is removed at the end of the `with` block, or by `close`.

    Raises:
        DatasetError: as with `add`; nothing waits then.
    """

    def __init__(self, root: Path, sources: Sequence[Path], wishes: Wishes = Wishes(), going: Going = ON) -> None:
        _check_apart(root, sources)
        self.root, self._wishes, self._going = root, wishes, going
        self._is_new = not root.exists()
        self._scratch: Scratch | None = None
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatasetError(f"{printable(str(root), 200)} cannot be made: {error.strerror or error}.") from error
        is_ready = False
        try:
            self._journal = Journal(root)
            self._journal.recover()
            self._scratch = Scratch(contents.own_folder(root) / INCOMING, "import")
            self._collector = Collector(root, self._scratch.path, wishes.limits, going)
            self._found = pairing.paired(self._collector.all_of(sources), wishes.ending, self._collector.scratch)
            self._found.left_out[:0] = self._collector.left_out
            self._told = _told(sources, wishes)
            if not self._found.files:
                left = "; ".join(f"{name}: {reason}" for name, reason in self._found.left_out[:NAMED])
                raise DatasetError(f"There is no image or caption in {self._told}. {left}".strip())
            going.check()
            self._made = _Placing(root, self._found).placed()
            is_ready = True
        except OSError as error:
            raise DatasetError(f"Nothing was changed: {error.strerror or error}.", "Free some space.") from error
        finally:
            if not is_ready:
                self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def preview(self) -> Imported:
        """What would come in."""
        return _summed(None, self._made, self._found)

    def conversions(self) -> dict[str, int]:
        """How many of the images that would come in each kind of conversion would change."""
        found: Counter[str] = Counter()
        for change in self._made.changes:
            if isinstance(change.content, Path) and PurePosixPath(change.path).suffix.casefold() in IMAGES:
                found.update(converting.needs(change.content))
        return dict(found)

    def apply(self, convert: Collection[str] = ()) -> Imported:
        """Brings everything in, as one edit, with the images converted that shall be.

        Raises:
            DatasetError: a conversion is not known, or the dataset cannot be written; nothing is changed then.
            DatasetCancelled: it was stopped; likewise.
        """
        made = self._made
        title = f"Add {made.images:,} {'image' if made.images == 1 else 'images'} from {self._told}"
        try:
            changes, converted, refused = self._converted(convert)
            edit = self._journal.apply("import", title, changes) if changes else None
        except OSError as error:
            raise DatasetError(f"Nothing was changed: {error.strerror or error}.", "Free some space.") from error
        done = _summed(edit, made, self._found)
        if edit is None:
            return done
        left = {path for path, _ in edit.refused}
        converted = [one for one in converted if one[2] not in left]
        done = replace(
            done, converted=tuple((before, now) for _, before, now in converted), left_out=(*done.left_out, *refused)
        )
        try:
            if converted:
                originals.keep(self.root, edit.number, converted)
        except (DatasetError, OSError) as error:
            reason = error.message if isinstance(error, DatasetError) else error.strerror or str(error)
            return replace(done, notes=(*done.notes, f"The originals of converted images could not be kept: {reason}."))
        return done

    def _converted(
        self, convert: Collection[str]
    ) -> tuple[list[Change], list[tuple[Path, str, str]], list[tuple[str, str]]]:
        """The changes with images converted; these as (original file, name before, name now); and what was not converted, with why."""
        converting.check(convert)
        changes, done, refused = [], [], []
        names = {change.path.casefold() for change in self._made.changes}
        for number, change in enumerate(self._made.changes, 1):
            place, name = change.content, PurePosixPath(change.path)
            found = change
            if (
                isinstance(place, Path)
                and name.suffix.casefold() in IMAGES
                and set(converting.needs(place)) & set(convert)
            ):
                try:
                    target, new = converting.made(place, name, convert, self._collector.scratch)
                except converting.CannotConvertError as reason:
                    refused.append((printable(change.path, 200), f"not converted: {reason}"))
                else:
                    is_taken = target.casefold() in names or (self.root / target).exists()
                    if target != change.path and is_taken:
                        refused.append((printable(change.path, 200), f"not converted: {converting.there_is(target)}"))
                    else:
                        names.add(target.casefold())
                        done.append((place, change.path, target))
                        found = Change(target, new, contents.NOTHING)
            changes.append(found)
            if convert:
                self._going.at(number, len(self._made.changes))
        return changes, done, refused

    def close(self) -> None:
        """Removes what waits, and what was made for nothing: a folder only if it is empty."""
        if self._scratch is not None:
            self._scratch.close()
        incoming = self.root / contents.OWN / INCOMING
        for folder in (incoming, incoming.parent, *((self.root,) if self._is_new else ())):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _check_apart(root: Path, sources: Iterable[Path]) -> None:
    """Raises if a source lies in the dataset or the dataset in a source: it would get copies of its own files."""
    here = Path(os.path.realpath(root))
    for source in sources:
        there, told = Path(os.path.realpath(source)), printable(str(source), 200)
        hint = "Choose images that are outside of the dataset, or another folder for the dataset."
        if there == here:
            raise DatasetError(f"{told} is the dataset itself, so nothing was imported.", hint)
        if there.is_relative_to(here) and not there.is_relative_to(here / contents.OWN):
            raise DatasetError(f"{told} is inside the dataset already, so nothing was imported.", hint)
        if here.is_relative_to(there):
            raise DatasetError(f"The dataset is inside {told}, so nothing was imported.", hint)


@dataclass
class _Placed:
    """The changes of an import, and what is told of them."""

    changes: list[Change] = field(default_factory=list)
    images: int = 0
    captions: int = 0
    masks: int = 0
    known: list[str] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)


class _Placing:
    """Gives the files that wait their names in the dataset."""

    def __init__(self, root: Path, found: pairing.Paired) -> None:
        self.found = found
        there = [path.relative_to(root).as_posix() for path in listing.list_files(root, follows_links=False).files]
        self.by_mark = {mark: name for name, mark in _marks(root, there, found.files)}
        self.names = Names(there)
        self.now: dict[tuple[int, PurePosixPath], PurePosixPath] = {}
        """The path in the dataset of each image that came, by source and path."""
        self.twins: set[tuple[int, PurePosixPath]] = set()
        self.made = _Placed()

    def placed(self) -> _Placed:
        """The changes that bring all files in."""
        files = self.found.files
        with_caption = {(one.source, one.of) for one in files if one.is_text}
        # Of two equal images, the one with a caption comes first.
        images = [one for one in files if one.is_image]
        for one in sorted(images, key=lambda one: ((one.source, one.path) not in with_caption, one.source, one.path)):
            self._image(one)
        for one in sorted((one for one in files if not one.is_image), key=lambda one: (one.source, one.path)):
            self._other(one)
        return self.made

    def _image(self, one: Arrived) -> None:
        mark, key = contents.mark(one.place), (one.source, one.path)
        if mark in self.by_mark:
            self.made.known.append(one.path.as_posix())
            self.now[key] = PurePosixPath(self.by_mark[mark])
            self.twins.add(key)
            return
        self.now[key] = self.names.of(one.path, one.source)
        self.by_mark[mark] = self.now[key].as_posix()
        self.made.images += 1
        self._take(one, self.now[key], mark)

    def _other(self, one: Arrived) -> None:
        key = (one.source, one.of) if one.of is not None else None
        if one.of is None or key not in self.now:
            self._take(one, self.names.of(one.path, one.source))
        elif one.is_mask:
            self._mask(one, one.of, self.now[key], is_twin=key in self.twins)
        elif key in self.twins:
            name = self.now[key].with_suffix(one.path.suffix)
            if self._is_free(one, name, "caption"):
                self._take(one, name)
        else:
            self._take(one, self.names.of(one.path.with_name(one.of.stem + one.path.suffix), one.source))

    def _mask(self, one: Arrived, image: PurePosixPath, now: PurePosixPath, *, is_twin: bool) -> None:
        name = pairing.beside(one.path, image, now)
        if is_twin:
            if self._is_free(one, name, "mask"):
                self._take(one, name)
        elif self.names.take(name):
            self._take(one, name)
        else:
            self._take(one, self.names.of(one.path, one.source))
            self.found.notes.append(
                f"The mask {printable(str(one.path), 200)} could not be named like its image, because {printable(str(name), 200)} is there already."
            )

    def _is_free(self, one: Arrived, name: PurePosixPath, what: str) -> bool:
        """Whether an image that the dataset has already gets this file: what it has may be the user's own."""
        if self.names.take(name):
            return True
        self.found.left_out.append(
            (printable(str(one.path), 200), f"its image is in the dataset already, with a {what}")
        )
        return False

    def _take(self, one: Arrived, name: PurePosixPath, mark: contents.Mark | None = None) -> None:
        self.made.captions += one.is_text and not _is_blank(one.place)
        self.made.masks += one.is_mask
        before = one.was or one.path.as_posix()
        if name.as_posix() != before:
            self.made.renamed.append((before, name.as_posix()))
        self.made.changes.append(Change(name.as_posix(), one.place, contents.NOTHING, mark))


def _is_blank(place: Path) -> bool:
    """Whether a caption file has no text; one that is longer than a page has some."""
    try:
        if place.stat().st_size > MOST_BLANK_BYTES:
            return False
        return not place.read_bytes().decode("utf-8-sig", "replace").replace("\0", "").strip()
    except OSError:
        return False


def _summed(edit: Edit | None, made: _Placed, found: pairing.Paired) -> Imported:
    refused = edit.refused if edit is not None else ()
    return Imported(
        edit,
        made.images,
        made.captions,
        made.masks,
        tuple(made.known),
        tuple(made.renamed),
        (*found.left_out, *refused),
        tuple(found.notes),
    )


def _marks(root: Path, there: Iterable[str], found: Iterable[Arrived]) -> Iterable[tuple[str, str]]:
    """The marks of those images in the dataset that are as large as one that comes."""
    sizes = {one.place.stat().st_size for one in found}
    for name in there:
        path = root / name
        if path.suffix.casefold() in IMAGES and path.is_file() and path.stat().st_size in sizes:
            yield name, contents.mark(path)


def _told(sources: Sequence[Path], wishes: Wishes) -> str:
    if wishes.origin:
        return printable(wishes.origin, 120)
    named = printable(sources[0].name or str(sources[0]), 60)
    return named if len(sources) == 1 else f"{named} and {len(sources) - 1} more"
