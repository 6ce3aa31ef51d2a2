"""Changes many captions at once, and shows first what would change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer_ui.boundary import attempt
from trainer_ui.components.differences import Differences
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.datasets.scope import Scope
from trainer_ui.widgets import Box, Button, Checkbox, Dropdown, Text, VBox

if TYPE_CHECKING:
    from trainer_core.curation.captions import Operation, Preview
    from trainer_ui.dataset_session import DatasetSession

SHOWN = 12
PERCENT = "80"


@dataclass(frozen=True)
class Kind:
    """A kind of edit: its title, what it does, the names of its fields, the operations for what was entered, and its name as an edit."""

    title: str
    help: str
    fields: tuple[str, ...]
    make: Callable[[Sequence[str], Sequence[str]], Sequence[Operation]]
    named: str


def _kinds() -> dict[str, Kind]:
    from trainer_core.curation import captions, style_captions

    def absorbed(fields: Sequence[str], texts: Sequence[str]) -> list[Operation]:
        share = float(fields[0]) / 100 if fields[0].strip() else 0.0
        kept = fields[1].strip().casefold()
        found = [tag for tag, _ in captions.frequent(texts, share) if tag != kept] if 0 < share <= 1 else []
        return [captions.remove_exactly(found)] if found else []

    return {
        "trigger": Kind(
            "Put a trigger word first",
            "The word is moved to the start, or added there.",
            ("Trigger word",),
            lambda fields, _: [captions.trigger_first(fields[0])],
            "Put {0} first",
        ),
        "trigger-last": Kind(
            "Put a trigger word last",
            "For a style: first the scene, then the word, as in “a harbour at dawn, inkwash”.",
            ("Trigger word",),
            lambda fields, _: [captions.remove_exactly([fields[0]]), captions.add(fields[0])],
            "Put {0} last",
        ),
        "add": Kind(
            "Add tags at the end",
            "Only where they are missing.",
            ("Tags",),
            lambda fields, _: [captions.add(fields[0])],
            "Add {0}",
        ),
        "add-first": Kind(
            "Add tags at the start",
            "Only where they are missing.",
            ("Tags",),
            lambda fields, _: [captions.add(fields[0], "start")],
            "Add {0} first",
        ),
        "remove": Kind(
            "Remove tags",
            "Whole tags, with commas between them. * stands for any text, ? for one sign.",
            ("Tags",),
            lambda fields, _: [captions.remove(fields[0])],
            "Remove {0}",
        ),
        "replace": Kind(
            "Replace a text",
            "Wherever it stands, also inside of words.",
            ("Text", "New text"),
            lambda fields, _: [captions.replace(fields[0], fields[1])],
            "Replace {0} with {1}",
        ),
        "replace-tag": Kind(
            "Replace a tag",
            "Whole tags only.",
            ("Tag", "New tag"),
            lambda fields, _: [captions.replace(fields[0], fields[1], whole_tags=True)],
            "Replace the tag {0} with {1}",
        ),
        "absorb": Kind(
            "Remove tags that nearly all have",
            "A tag of nearly every image describes the subject itself. Without it, the trigger word learns it.",
            ("Share of the images in percent", "But keep this word"),
            absorbed,
            "Remove tags that {0} % have",
        ),
        "style": Kind(
            "Make captions for a style",
            "Tags that name the style, its palette or technique are removed, and the trigger word goes last: the word learns the style then.",
            ("Trigger word",),
            lambda fields, _: [style_captions.mended(fields[0])],
            "Make captions for the style {0}",
        ),
        "repeats": Kind(
            "Remove repeated tags",
            "Each tag stays at its first place.",
            (),
            lambda _, __: [captions.without_repeats()],
            "Remove repeated tags",
        ),
        "sort": Kind(
            "Sort the tags",
            "By the alphabet; this word stays first.",
            ("First word",),
            lambda fields, _: [captions.sort(fields[0])],
            "Sort the tags",
        ),
        "weights": Kind(
            "Remove weights of other programs",
            "(hat:1.3), ((hat)) and [hat] become hat, \\( becomes (.",
            (),
            lambda _, __: [captions.without_weights()],
            "Remove weights",
        ),
        "set": Kind(
            "Give all the same caption",
            "What is there is replaced.",
            ("Caption",),
            lambda fields, _: [captions.set_to(fields[0])],
            "Set to {0}",
        ),
    }


TRIGGERED = ("trigger", "trigger-last", "style")
"""The kinds whose first field is the trigger word."""
OPTIONAL = {"replace": 1, "replace-tag": 1, "sort": 0, "absorb": 1}
"""The kinds of which a field may be empty, and from which one on."""


class BulkPanel:
    """An edit of many captions: what, for which images, and what would change."""

    def __init__(self, session: DatasetSession) -> None:
        self.session = session
        self.kinds = _kinds()
        handler = session.handler
        self.scope = Scope(session)
        options = [(kind.title, key) for key, kind in self.kinds.items()]
        self.kind: Any = Dropdown(description="What to do", options=options, value="trigger")
        self.kind.observe(handler(lambda _: self._chosen()), "value")
        self.first = Text(description="Trigger word", continuous_update=False)
        self.second = Text(description="New text", continuous_update=False)
        for field in (self.first, self.second):
            field.observe(handler(lambda _: None), "value")
        self.makes = Checkbox(description="Also write captions for images that have none", indent=False)
        self.makes.observe(handler(lambda _: None), "value")
        self.help = Paragraph("", "small", "muted")
        self.said = Paragraph("", "small", role="status")
        self.changes = Differences()
        self.button = Button(description="Change the captions", button_style="primary")
        self.button.on_click(handler(lambda _: self._apply()))
        self.widget = VBox(
            [
                Paragraph("Change many captions", "heading"),
                Box([self.kind, self.scope.widget], classes=("easel-pair",)),
                self.help,
                Box([self.first, self.second], classes=("easel-pair",)),
                self.makes,
                Box([self.button, self.said], classes=("easel-row",)),
                self.changes,
            ],
            classes=("easel-card", "easel-bulk"),
        )
        self.preview: Preview | None = None
        self._asked: object = None
        self._thread: threading.Thread | None = None
        self._chosen()

    def prepare(self, kind: str, first: str) -> None:
        """Fills the form, as a button beside a tag does."""
        self.kind.value, self.first.value = kind, first
        self._chosen()

    def _chosen(self) -> None:
        kind = self.kinds[self.kind.value]
        self.help.show_text(kind.help)
        for field, name in zip((self.first, self.second), (*kind.fields, "", "")[:2], strict=True):
            show(field, bool(name))
            if name:
                field.description = name
        if self.kind.value == "absorb" and not self.first.value.strip().isdecimal():
            self.first.value = PERCENT
        if self.kind.value in TRIGGERED and not self.first.value:
            self.first.value = self.session.trigger

    def show(self) -> None:
        """Shows what would change."""
        self.scope.show()
        show(self.widget, self.session.root is not None)
        asked = self._question()
        if asked != self._asked:
            self._asked, self.preview = asked, None
            self._look()
        self._show_preview()

    def _question(self) -> tuple[object, ...]:
        return (
            id(self.session.entries),
            self.kind.value,
            self.first.value,
            self.second.value,
            self.makes.value,
            hash(tuple(one.path for one in self.scope.entries)),
        )

    def _missing(self) -> str:
        kind = self.kinds[self.kind.value]
        needed = kind.fields[: OPTIONAL.get(self.kind.value, len(kind.fields))]
        empty = [
            name for name, field in zip(needed, (self.first, self.second), strict=False) if not field.value.strip()
        ]
        if not empty and self.kind.value == "absorb" and not _is_percent(self.first.value):
            return "The share is a number from 1 to 100."
        if not empty and self.kind.value in TRIGGERED and "," in self.first.value:
            return "A trigger word has no comma: it would be two tags."
        return f"Enter: {', '.join(empty).lower()}." if empty else ""

    def _look(self) -> None:
        """Computes in a thread what would change."""
        session, asked = self.session, self._asked
        if session.root is None or self._missing() or not session.entries:
            return
        # A file that cannot be trained gets no caption.
        entries = [one for one in self.scope.entries if one.is_trained or one.caption_path]
        root = session.root
        kind, fields, makes = (
            self.kinds[self.kind.value],
            (self.first.value.strip(), self.second.value),
            self.makes.value,
        )

        def work() -> None:
            from trainer_core.curation import captions

            operations = kind.make(fields, [one.caption for one in entries])
            paths = [one.caption_path or captions.place_of(one.path, session.extension) for one in entries]
            found = captions.preview(root, paths, operations, makes=makes)
            with session.lock:
                if asked == self._asked:
                    self.preview = found
            session.show_unasked()

        threading.Thread(target=attempt, args=(work, session.show_soon), name="easel-preview", daemon=True).start()

    def _show_preview(self) -> None:
        found, missing = self.preview, self._missing()
        number = len(found.changes) if found is not None else 0
        words = f"Change {number:,} {'caption' if number == 1 else 'captions'}" if number else "Change the captions"
        if self.button.description != words:
            self.button.description = words
        self.button.disabled = not number or bool(self.session.doing)
        self.said.show_text(missing or _counted(found))
        self.changes.show_changes(
            (one.path, one.before, one.after) for one in (found.changes[:SHOWN] if found is not None else ())
        )

    def _apply(self) -> None:
        if self.preview is None or not self.preview.changes:
            return
        kind = self.kinds[self.kind.value]
        title = kind.named.format(self.first.value.strip() or "nothing", self.second.value or "nothing")
        self.session.drafts.save_all()
        self.session.apply("captions", title, [one.change for one in self.preview.changes])


def _is_percent(text: str) -> bool:
    return text.strip().isdecimal() and 1 <= int(text.strip()) <= 100


def _counted(found: Preview | None) -> str:
    if found is None:
        return ""
    more = len(found.changes) - SHOWN
    parts = [
        "No caption changes." if not found.changes else f"The first {SHOWN} of them are below." if more > 0 else "",
        f"{found.unchanged:,} stay as they are." if found.changes and found.unchanged else "",
        f"{len(found.refused):,} cannot be edited: {found.refused[0][0]}, {found.refused[0][1]}."
        if found.refused
        else "",
    ]
    return " ".join(filter(None, parts))
