"""Fixes for the defects that a scan finds in a dataset: what each does, and the changes of files that it makes.

Nothing is removed for good: a file that is moved out, and one that is converted, come back when the edit is undone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from trainer_core.curation import captions, contents, encodings, leftovers, rendering
from trainer_core.curation.journal import Change, Journal
from trainer_core.curation.records import Edit
from trainer_core.datasets import images
from trainer_core.datasets.scan import Dataset
from trainer_core.errors import DatasetError
from trainer_core.text import printable

MOST_IN_MEMORY_BYTES = 64 << 10
"""A new file of this size waits in memory until the edit is made: captions do, images do not."""
_ENDINGS = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp"}
"""The extensions of formats that every engine reads."""


@dataclass(frozen=True)
class Context:
    """A dataset that is mended, and what a fix may need: the trigger word, and the extension of captions."""

    root: Path
    dataset: Dataset
    trigger: str = ""

    def path(self, file: Path) -> str:
        """The path of a file as an edit names it."""
        return file.relative_to(self.root).as_posix()

    def caption(self, image: Path) -> Path:
        """The caption file of an image: the one that it has, or the one that it would get."""
        known = next((one.caption_file for one in self.dataset.images if one.path == image), None)
        return known or image.with_suffix(self.dataset.caption_extension)


Make = Callable[[Context, Path], Iterable[Change]]


@dataclass(frozen=True)
class Mending:
    """A fix: `title` completes "... 3 files", `help` says what it does, `defects` are the keys that it mends."""

    id: str
    title: str
    help: str
    defects: tuple[str, ...]
    make: Make
    needs_trigger: bool = False


class CannotBeMendedError(Exception):
    """A file that a fix cannot mend; the message completes "it was left as it is: ..."."""


# ---- what fixes do with one file ----
def _move_out(context: Context, file: Path) -> Iterator[Change]:
    """Takes an image out of the dataset, with its caption if no other image has it."""
    yield Change(context.path(file), None)
    caption = file.with_suffix(context.dataset.caption_extension)
    others = [one for one in file.parent.glob(f"{_literal(file.stem)}.*") if one not in (file, caption)]
    if caption.is_file() and not others:
        yield Change(context.path(caption), None)


def _rename(context: Context, file: Path) -> Iterator[Change]:
    """Gives an image the extension that its content has."""
    with rendering.opened(file) as image:
        ending = _ENDINGS.get(image.format or "")
    if ending is None:
        yield from _convert(context, file)
        return
    target = file.with_name(f"{file.stem}{ending}")
    if target.name != file.name and target.exists() and not target.samefile(file):
        raise CannotBeMendedError(f"there is a file {printable(target.name, 100)} already")
    yield Change(context.path(file), None)
    yield Change(context.path(target), file)


def _convert(context: Context, file: Path) -> Iterator[Change]:
    """Makes a PNG of what an engine does not read; of an animation its first image."""
    with rendering.opened(file) as image:
        content = rendering.png(rendering.plain(image))
    yield from _replaced(context, file, content)


def _flatten(context: Context, file: Path) -> Iterator[Change]:
    """Puts an image with transparent parts onto white."""
    with rendering.opened(file) as image:
        whole = rendering.plain(image).convert("RGBA")
        white = Image.new("RGBA", whole.size, "white")
        white.alpha_composite(whole)
        content = rendering.png(white.convert("RGB"))
    yield from _replaced(context, file, content)


def _scale_values(context: Context, file: Path) -> Iterator[Change]:
    """Spreads the values of a floating-point image over 0 to 255."""
    import numpy as np

    with rendering.opened(file) as image:
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / (high - low) * 255 if high > low else np.zeros_like(values)
    yield from _replaced(context, file, rendering.png(Image.fromarray(scaled.round().astype(np.uint8))))


def _shrink(context: Context, file: Path) -> Iterator[Change]:
    """Makes the longer side of a very large image 4096 px."""
    with rendering.opened(file) as image:
        image.draft("RGB", (rendering.LARGE_SIDE_PX, rendering.LARGE_SIDE_PX))
        small = rendering.plain(image)
        small.thumbnail((rendering.LARGE_SIDE_PX, rendering.LARGE_SIDE_PX), Image.Resampling.LANCZOS)
        is_jpeg = image.format in ("JPEG", "MPO")
        content = rendering.jpeg(small) if is_jpeg else rendering.png(small)
    yield from _replaced(context, file, content, ".jpg" if is_jpeg else ".png")


def _transcode(context: Context, image: Path) -> Iterator[Change]:
    """Writes a caption as UTF-8."""
    file = context.caption(image)
    data = file.read_bytes()
    text = encodings.guessed(data)
    if text is None:
        raise CannotBeMendedError("its encoding is not known; save it as UTF-8 in a text editor")
    yield Change(context.path(file), text.encode("utf-8"))


def _clean(context: Context, image: Path) -> Iterator[Change]:
    """Takes byte order mark and control characters out of a caption."""
    file = context.caption(image)
    data = file.read_bytes()
    text = encodings.guessed(data)
    if text is None:
        raise CannotBeMendedError("its encoding is not known")
    kept = "".join(sign for sign in text if sign in "\r\n\t" or sign.isprintable() or sign.isspace())
    yield Change(context.path(file), kept.encode("utf-8"))


def _joined(context: Context, image: Path) -> Iterator[Change]:
    """Joins the lines of a caption with commas."""
    file = context.caption(image)
    lines = (encodings.guessed(file.read_bytes()) or "").splitlines()
    yield Change(context.path(file), f"{', '.join(line.strip(' ,') for line in lines if line.strip(' ,'))}\n".encode())


def _edited(*operations: captions.Operation) -> Make:
    def make(context: Context, image: Path) -> Iterator[Change]:
        path = context.path(context.caption(image))
        seen = captions.preview(context.root, [path], operations)
        if seen.refused:
            raise CannotBeMendedError(seen.refused[0][1])
        yield from (one.change for one in seen.changes)

    return make


def _write_trigger(context: Context, image: Path) -> Iterator[Change]:
    yield Change(context.path(context.caption(image)), f"{context.trigger}\n".encode())


def _trigger_first(context: Context, image: Path) -> Iterable[Change]:
    return _edited(captions.trigger_first(context.trigger))(context, image)


MENDINGS: Mapping[str, Mending] = {
    one.id: one
    for one in (
        Mending("move-out", "Move out of the dataset", "No engine can read it. Its caption goes with it.", ("empty", "html", "lfs", "damaged", "dead_link", "transparent", "bomb", "unreadable"), _move_out),
        Mending("rename", "Rename", "It gets the extension that fits its content, in lower case.", ("case", "no_ending"), _rename),
        Mending("convert", "Convert to PNG", "The engine does not read its format. Of an animation the first image is kept.", ("ending",), _convert),
        Mending("flatten", "Flatten onto white", "Transparent parts become white instead of a hidden colour.", ("alpha",), _flatten),
        Mending("scale-values", "Convert to 8 bit", "Its values are spread from black to white.", ("float_values",), _scale_values),
        Mending("shrink", "Make smaller", "The longer side becomes 4096 px: more is never trained.", ("huge",), _shrink),
        Mending("utf-8", "Save as UTF-8", "The caption is written in the encoding that engines read.", ("caption_not_utf8", "caption_utf16"), _transcode),
        Mending("clean", "Clean", "Byte order mark and control characters are taken out of the caption.", ("caption_mark", "caption_control"), _clean),
        Mending("join-lines", "Join the lines", "The lines of the caption become one, with commas between them.", ("many_lines",), _joined),
        Mending("plain", "Remove weights", "Weights such as (word:1.3), and backslashes before brackets, become plain text.", ("caption_weights", "caption_escapes"), _edited(captions.without_weights())),
        Mending("write-trigger", "Write the trigger word", "The caption becomes the trigger word.", ("caption_missing", "caption_missing_mixed", "caption_missing_trigger", "caption_blank", "caption_blank_mixed", "caption_blank_trigger"), _write_trigger, True),
        Mending("trigger-first", "Put the trigger word first", "Captions that lack it begin with it.", ("no_trigger",), _trigger_first, True),
    )
}  # fmt: skip
"""The fixes by id, in the order in which they are made."""


@dataclass(frozen=True)
class Offer:
    """A fix that a dataset can use, and the files that it would mend."""

    mending: Mending
    files: tuple[Path, ...]


def offers(dataset: Dataset, trigger: str = "") -> list[Offer]:
    """The fixes for the defects of a scanned dataset."""
    found = []
    for one in MENDINGS.values():
        files = dict.fromkeys(file for key in one.defects for file in dataset.defects.get(key, ()))
        if files and (trigger.strip() or not one.needs_trigger):
            found.append(Offer(one, tuple(files)))
    return found


def mend(
    dataset: Dataset, wanted: Collection[str], title: str, trigger: str = ""
) -> tuple[Edit | None, list[tuple[str, str]]]:
    """Makes these fixes, by id, as one edit with this title; None if nothing changes. Also what was left as it is, as (name, reason).

    Raises:
        DatasetError: the dataset cannot be written, or another program edits it; nothing is changed then.
    """
    journal = Journal(dataset.root)
    journal.recover()
    try:
        with leftovers.new_files(contents.own_folder(dataset.root) / leftovers.INCOMING, "fix") as scratch:
            made, refused = changes(dataset, wanted, trigger, scratch)
            edit = journal.apply("fix", title, made) if made else None
    except OSError as error:
        raise DatasetError(f"Nothing was changed: {error.strerror or error}.", "Free some space.") from error
    return edit, [*refused, *(edit.refused if edit is not None else ())]


def changes(
    dataset: Dataset, wanted: Collection[str], trigger: str = "", scratch: Callable[[], Path] | None = None
) -> tuple[list[Change], list[tuple[str, str]]]:
    """The changes of these fixes, by id, and the files that cannot be mended, as (name, reason). The dataset stays as it is.

    A file with several defects gets its first fix; the others are offered again by the next scan. New images are written to files
    that `scratch` names, on the disk of the dataset; without it they stay in memory.
    """
    context = Context(dataset.root, dataset, trigger.strip())
    found: dict[str, Change] = {}
    refused = []
    for offer in offers(dataset, trigger):
        if offer.mending.id not in wanted:
            continue
        for file in offer.files:
            try:
                made = list(offer.mending.make(context, file))
                if not any(change.path in found for change in made):
                    found.update({change.path: _seen(context.root, change, scratch) for change in made})
            except CannotBeMendedError as reason:
                refused.append((printable(context.path(file), 200), str(reason)))
            except (DatasetError, OSError, Image.DecompressionBombError, *images.DECODER_ERRORS) as error:
                refused.append((printable(context.path(file), 200), printable(str(error), 200) or "it cannot be read"))
    return list(found.values()), refused


def _seen(root: Path, change: Change, scratch: Callable[[], Path] | None) -> Change:
    """The change, if the file is still as it was read; large content is in a file of its own, not in memory."""
    file, content = contents.inside(root, change.path), change.content
    if scratch is not None and isinstance(content, bytes) and len(content) > MOST_IN_MEMORY_BYTES:
        place = scratch()
        place.write_bytes(content)
        if file.is_file():
            shutil.copymode(file, place)
        content = place
    return Change(change.path, content, contents.mark(file))


# ---- images and texts ----
def _replaced(context: Context, file: Path, content: bytes, ending: str = ".png") -> Iterator[Change]:
    """The new content in place of a file, under a name with the extension that it has now."""
    target = file.with_name(f"{file.stem}{ending}")
    if target != file:
        if target.exists():
            raise CannotBeMendedError(f"there is a file {printable(target.name, 100)} already")
        yield Change(context.path(file), None)
    yield Change(context.path(target), content)


def _literal(name: str) -> str:
    """A name in which no sign is a pattern."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)
