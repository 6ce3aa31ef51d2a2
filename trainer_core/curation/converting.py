"""Converts images, as far as the user wants: what engines do not read, or read wrongly.

In a dataset that is an edit, which an undo takes back. Images that come in are converted on the way (`importing`); their originals
are kept beside the dataset (`originals`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from trainer_core.curation import contents, gathering, leftovers, rendering
from trainer_core.curation.journal import Change, Journal
from trainer_core.curation.leftovers import INCOMING
from trainer_core.curation.records import Edit
from trainer_core.curation.unpacking import ON, Going
from trainer_core.datasets import images
from trainer_core.errors import DatasetError
from trainer_core.text import printable

LARGE_PIXELS = 16_000_000
_LOSSY = frozenset({"JPEG", "MPO", "HEIF", "AVIF"})
"""The formats whose images are photos as a rule, and were stored with loss: they become JPEG, others PNG."""
_START_BYTES = 12


@dataclass(frozen=True)
class Kind:
    """What can be converted: what a user reads of it."""

    title: str
    help: str


KINDS: Mapping[str, Kind] = {
    "heic": Kind("HEIC photos", "They become JPEG: no engine reads HEIC."),
    "tiff": Kind("TIFF images", "They become PNG: sd-scripts does not see TIFF."),
    "gif": Kind("GIF images", "The first image becomes a PNG: sd-scripts does not see GIF."),
    "avif": Kind("AVIF images", "They become JPEG: sd-scripts does not see AVIF without another package."),
    "animated": Kind("Animations", "The first image becomes a PNG: engines train no other."),
    "large": Kind("Very large images", "Above 16 megapixels they are made smaller: more is never trained, and reading them takes seconds."),
    "turned": Kind("Sideways images", "They are stored upright: engines train them as they are stored."),
    "cmyk": Kind("Print colours", "CMYK becomes RGB, through its colour profile if there is one."),
    "deep": Kind("16 bit", "Gray images with 16 bits get 8: engines clip them to white."),
    "profile": Kind("Colour profiles", "Wide colours are converted to sRGB: engines take all values for sRGB."),
}  # fmt: skip
"""What can be converted, by id."""


def needs(path: Path) -> tuple[str, ...]:
    """The ids of what could be converted of an image; only its header is read."""
    try:
        with path.open("rb") as file:
            start = file.read(_START_BYTES)
    except OSError:
        return ()
    if start[4:8] == b"ftyp" and start[8:12] in images.HEIC_BRANDS:
        return ("heic",)
    try:
        with rendering.opened(path) as image:
            kind, size = image.format or "", image.width * image.height
    except (Image.DecompressionBombError, *images.DECODER_ERRORS):
        return ()
    defects = images.inspect(path, quick=True).defects
    found = {
        "tiff": kind == "TIFF",
        "gif": kind == "GIF",
        "avif": kind == "AVIF",
        "animated": "animated" in defects and kind != "GIF",
        "large": size > LARGE_PIXELS,
        "turned": "turned" in defects,
        "cmyk": "cmyk" in defects,
        "deep": "deep_gray" in defects,
        "profile": "colour_profile" in defects,
    }
    return tuple(key for key, there in found.items() if there)


def counts(root: Path, names: Iterable[str]) -> dict[str, int]:
    """How many of these images, as paths in the dataset, each kind of conversion would change; a kind without any is left out."""
    found: dict[str, int] = {}
    for name in names:
        for key in needs(root / name):
            found[key] = found.get(key, 0) + 1
    return found


def in_dataset(root: Path, wanted: Collection[str], going: Going = ON) -> tuple[Edit | None, list[tuple[str, str]]]:
    """The edit that converts the images of a dataset as wanted, and what cannot be converted, as (name, reason).

    Raises:
        DatasetError: a kind is not known, or the dataset cannot be written; nothing is converted then.
        DatasetCancelled: it was stopped; likewise.
    """
    journal = Journal(root)
    journal.recover()
    try:
        with leftovers.new_files(contents.own_folder(root) / INCOMING, "convert") as scratch:
            return convert(journal, gathering.images(root), wanted, scratch, going)
    except OSError as error:
        raise DatasetError(f"Nothing was changed: {error.strerror or error}.", "Free some space.") from error


def convert(
    journal: Journal, names: Sequence[str], wanted: Collection[str], scratch: Callable[[], Path], going: Going = ON
) -> tuple[Edit | None, list[tuple[str, str]]]:
    """The edit that converts these images of a dataset as wanted, and what cannot be converted, as (name, reason).

    Args:
        journal: of the dataset.
        names: the paths of the images.
        wanted: ids of `KINDS`.
        scratch: gives the path for a new file, on the disk of the dataset.
        going: gets how many images were looked at.

    Raises:
        DatasetError: a kind is not known, or the dataset cannot be written; nothing is converted then.
        OSError: a new file cannot be written; likewise.
    """
    check(wanted)
    changes: dict[str, Change] = {}
    refused: list[tuple[str, str]] = []
    for number, name in enumerate(names, 1):
        path = contents.inside(journal.root, name)
        if set(needs(path)) & set(wanted):
            before = contents.mark(path)
            try:
                target, place = made(path, PurePosixPath(name), wanted, scratch)
            except CannotConvertError as reason:
                refused.append((printable(name, 200), str(reason)))
            else:
                if target != name and (target in changes or (journal.root / target).exists()):
                    refused.append((printable(name, 200), there_is(target)))
                    continue
                if target != name:
                    changes[name] = Change(name, None, before)
                changes[target] = Change(target, place, before if target == name else contents.NOTHING)
        going.at(number, len(names))
    count = sum(change.content is not None for change in changes.values())
    title = f"Convert {count:,} {'image' if count == 1 else 'images'}"
    return (journal.apply("convert", title, list(changes.values())) if changes else None), refused


class CannotConvertError(Exception):
    """An image that cannot be converted; the message is the reason."""


def check(wanted: Collection[str]) -> None:
    """Checks the ids of conversions.

    Raises:
        DatasetError: one is not known.
    """
    if unknown := set(wanted) - set(KINDS):
        raise DatasetError(
            f"{printable(', '.join(sorted(unknown)), 100)}: no such conversion.", f"Known: {', '.join(KINDS)}."
        )


def made(path: Path, name: PurePosixPath, wanted: Collection[str], scratch: Callable[[], Path]) -> tuple[str, Path]:
    """The converted form of an image with this name: its name, and the new file that has it.

    Raises:
        CannotConvertError: it cannot be read.
        OSError: the new file cannot be written.
    """
    try:
        data, ending = _rendered(path, name, shrinks="large" in wanted)
    except (Image.DecompressionBombError, *images.DECODER_ERRORS) as error:
        raise CannotConvertError(printable(str(error), 200) or "it cannot be read") from error
    place = scratch()
    place.write_bytes(data)
    return name.with_suffix(ending).as_posix(), place


def there_is(target: str) -> str:
    """The reason why an image is not converted: its new name is taken."""
    return f"there is a file {printable(target, 100)} already"


def _rendered(path: Path, name: PurePosixPath, *, shrinks: bool) -> tuple[bytes, str]:
    """The bytes of the converted image, and their file extension."""
    with rendering.opened_heic(path) if needs(path) == ("heic",) else rendering.opened(path) as image:
        is_lossy = image.format in _LOSSY
        found = rendering.plain(image)
    if shrinks:
        found = rendering.at_most(found, LARGE_PIXELS)
    if is_lossy and not found.has_transparency_data:
        return rendering.jpeg(found), name.suffix if name.suffix.casefold() in (".jpg", ".jpeg") else ".jpg"
    return rendering.png(found), ".png"
