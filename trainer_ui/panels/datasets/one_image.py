"""The image that the user looks at: large, with its findings, what is cut off in training, and its caption."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from trainer_ui.components.image_editor import ImageEditor, Seen, Told
from trainer_ui.formatting import Paragraph, show
from trainer_ui.widgets import VBox

if TYPE_CHECKING:
    from trainer_core.curation.catalogue import Entry
    from trainer_core.curation.selections import Choice
    from trainer_ui.dataset_session import DatasetSession

TONES = {"error": "danger", "warning": "warn", "info": "muted"}
STEP = 64
"""The usual step of the sides of buckets, in pixels."""
LEAST_TOLD = 0.02
AUTHORS = {"": "", "user": "written by you"}


class OneImage:
    """The current image and its caption."""

    def __init__(self, session: DatasetSession) -> None:
        self.session = session
        handler = session.handler
        self.editor = ImageEditor(Told(self._draft, handler(self._save), handler(session.list.go), handler(self._mark)))
        self.none = Paragraph("Choose an image to see it large and to write its caption.", "muted")
        self.widget = VBox([self.none, self.editor], classes=("easel-card", "easel-one-image"))
        self._read: object = None

    def show(self) -> None:
        """Shows the image and its caption."""
        session = self.session
        entry = session.entry(session.list.current) if session.list.current else None
        show(self.widget, session.root is not None)
        show(self.none, entry is None)
        self.editor.show_image(seen(session, entry) if entry is not None else None)
        if self._read is not session.read:
            self._read = session.read
            self.editor.suggest(vocabulary(session))

    def _draft(self, told: tuple[int, str, str]) -> None:
        """Keeps what is being typed: the page may be closed before the field is left."""
        number, text, base = told
        if path := self.session.list.path_of(number):
            self.session.drafts.keep(path, text, base)

    def _save(self, told: tuple[int, str, str]) -> None:
        number, text, base = told
        if path := self.session.list.path_of(number):
            self.session.drafts.save(path, text, base)

    def _mark(self, asked: tuple[int, Choice]) -> None:
        number, choice = asked
        if path := self.session.list.path_of(number):
            self.session.mark([path], choice)


def seen(session: DatasetSession, entry: Entry) -> Seen:
    """The image as it is shown."""
    from trainer_core.curation import captions
    from trainer_core.text import printable

    root = session.root
    assert root is not None  # there are no entries without a dataset
    paths = [one.path for one in session.list.shown]
    at = paths.index(entry.path) if entry.path in paths else -1
    whole = captions.text_of(root, entry.caption_path) if entry.caption_path is not None else ""
    base = captions.plain(whole or "")
    text = session.drafts.text(entry.path, base)
    lost = crop(session, entry)
    is_plain = whole is not None and printable(text, len(text) + 1, keep="\n") == text
    return Seen(
        session.list.number(entry.path),
        session.version,
        root / entry.path,
        entry.path,
        text,
        base,
        ", ".join(filter(None, (facts(entry), cut_off(lost)))),
        f"{at + 1:,} of {len(paths):,}" if at >= 0 else "",
        at > 0,
        0 <= at < len(paths) - 1,
        findings(entry),
        told(entry, text)
        if is_plain
        else "This file has signs that cannot be shown, so it is not edited here: see Check.",
        entry.choice,
        hash((entry.time, entry.bytes)) & 0x7FFFFFFF,
        crop=lost,
        locked=not is_plain,
    )


def crop(session: DatasetSession, entry: Entry) -> tuple[float, float, float, float] | None:
    """The shares that training cuts off at top, right, bottom and left, with the usual buckets; None if that is not known."""
    from trainer_core.datasets import bucket_places
    from trainer_core.engines import registry

    manifest = (registry.get(session.engine) if session.engine else registry.first()).manifest
    made = bucket_places.way(manifest.dataset)
    if not made or not entry.width or not entry.height:
        return None
    placed = bucket_places.placed((entry.width, entry.height), made, session.resolution, STEP)
    side, top = ((1 - bucket / scaled) / 2 for bucket, scaled in zip(placed.bucket, placed.scaled, strict=True))
    return (max(0.0, top), max(0.0, side), max(0.0, top), max(0.0, side))


def cut_off(lost: tuple[float, float, float, float] | None) -> str:
    """How much is cut off, in words; "" if it is hardly anything."""
    if lost is None:
        return ""
    share = 1 - (1 - lost[0] - lost[2]) * (1 - lost[1] - lost[3])
    return f"{share:.0%} is cut off (the dashed line)" if share >= LEAST_TOLD else ""


def facts(entry: Entry) -> str:
    """Size, shape and file size in a line."""
    if not entry.width:
        return ""
    pixels = f"{entry.width:,} x {entry.height:,} pixels"
    size = f"{entry.bytes / 1e6:.1f} MB" if entry.bytes >= 1e5 else f"{entry.bytes / 1e3:.0f} kB"
    return f"{pixels}, {entry.width * entry.height / 1e6:.1f} megapixels, {size}"


def findings(entry: Entry) -> list[tuple[str, str]]:
    """What is wrong with the image, in sentences with their tone."""
    from trainer_core.datasets.defects import DEFECTS

    found = [DEFECTS[key] for key in entry.defects if key in DEFECTS]
    return [(_sentence(one.reason, one.advice, is_trained=entry.is_trained), TONES[one.severity]) for one in found]


def _sentence(reason: str, advice: str, *, is_trained: bool) -> str:
    start = "" if is_trained else "Not trained: "
    said = f"{start}{reason}"
    return f"{said[:1].upper()}{said[1:]}. {advice}"


def told(entry: Entry, text: str) -> str:
    """A line under the caption: how long it is, and who wrote it."""
    from trainer_core.curation import captions
    from trainer_core.datasets import caption_text

    if not text.strip():
        return "No caption: the engine gets the trigger word alone, or nothing."
    tags = len(captions.tags(text))
    parts = [
        f"at least {caption_text.tokens(text, 'clip'):,} tokens",
        f"{tags:,} tags" if tags > 1 else "",
        AUTHORS.get(entry.author, f"written by {entry.author}"),
    ]
    return ", ".join(filter(None, parts))


def vocabulary(session: DatasetSession) -> list[tuple[str, int]]:
    """The tags of the dataset, the most frequent first."""
    from trainer_core.curation import captions

    counted = Counter(tag for one in session.entries for tag in captions.tags(one.caption) if len(tag) <= 60)
    return counted.most_common(1500)
