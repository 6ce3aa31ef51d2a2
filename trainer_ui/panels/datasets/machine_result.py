"""What a model said of the images: thresholds, what would be written, and the button that writes it as one edit."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from trainer_core.errors import DatasetError
from trainer_ui.boundary import attempt
from trainer_ui.components.differences import Differences
from trainer_ui.dataset_session import told
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.card import row
from trainer_ui.widgets import Box, Button, Checkbox, Dropdown, Text, VBox

if TYPE_CHECKING:
    from pathlib import Path

    from trainer_core.captioning.applying import Current, Mode
    from trainer_core.captioning.thresholds import Thresholds
    from trainer_ui.dataset_session import DatasetSession
    from trainer_ui.panels.datasets.machine import MachinePanel

SHOWN = 12
MOST_TAGS = 12


@dataclass(frozen=True)
class Said:
    """What is kept of a model's answers for a dataset: tags with probabilities, or captions; and the captions that there are."""

    settings: Any
    found: Mapping[str, Any]
    files: Sequence[Current]
    is_tags: bool


class MachineResult:
    """The answers of the job that has ended, and what is written of them."""

    def __init__(self, session: DatasetSession, machine: MachinePanel) -> None:
        self.session, self.machine = session, machine
        handler = session.handler
        self.said: Said | None = None
        self._asked: object = None
        self.general = Text(description="Tags from a probability of", value="0.35", continuous_update=False)
        self.character = Text(description="Names of characters from", value="0.85", continuous_update=False)
        self.without = Text(description="Leave out", placeholder="tags, with * for any text", continuous_update=False)
        self.accept = Checkbox(description="Also write captions that are marked as wrong", indent=False)
        self.mode: Any = Dropdown(
            description="Write captions of", options=[("images without a caption", "empty")], value="empty"
        )
        for one in (self.general, self.character, self.without, self.accept, self.mode):
            one.observe(handler(lambda _: None), "value")
        self.of_tags = Box([self.general, self.character, self.without], classes=("easel-pair",))
        self.counted = Paragraph("", "small", role="status")
        self.common = Paragraph("", "small", "muted")
        self.changes = Differences()
        self.button = Button(description="Write the captions", button_style="primary")
        self.button.on_click(handler(lambda _: self._write()))
        self.widget = VBox(
            [
                Paragraph("What it said", "heading"),
                self.counted,
                self.of_tags,
                self.accept,
                Box([self.mode], classes=("easel-pair",)),
                self.common,
                row(self.button),
                self.changes,
            ],
            classes=("easel-card", "easel-machine-result"),
        )

    def show(self) -> None:
        """Shows what would be written with the thresholds that are set."""
        wanted = self.machine.done
        asked = (wanted, id(self.session.entries))
        if wanted is None:
            self.said = self._asked = None
        elif asked != self._asked:
            self._asked = asked
            threading.Thread(
                target=attempt, args=(partial(self._read, wanted, asked), self.session.show_soon), daemon=True
            ).start()
        show(self.widget, self.said is not None and self.session.root is not None)
        if self.said is not None:
            self._show_said(self.said)

    def _read(self, settings: Any, asked: object) -> None:
        from trainer_core.captioning import applying, asking, dataset, tagging

        is_tags = isinstance(settings, tagging.Settings)
        found = tagging.known(settings) if is_tags else asking.known(settings)
        root = dataset.root_of(settings.dataset)
        files = applying.current(root, self.session.extension, settings.images or None)
        with self.session.lock:
            if asked == self._asked:
                self.said = Said(settings, found, files, is_tags)
        self.session.show_unasked()

    def _show_said(self, said: Said) -> None:
        from trainer_core.captioning import applying

        show(self.of_tags, said.is_tags)
        show(self.accept, not said.is_tags and len(self._captions(said)) < len(said.found))
        try:
            texts = self._captions(said)
        except DatasetError as error:
            self.counted.show_text(str(error), "danger")
            self.button.disabled = True
            return
        counts = applying.counts(said.files, texts)
        options = [(f"{applying.MEANING[mode]} ({counts[mode]:,})", mode) for mode in applying.MODES]
        if tuple(self.mode.options) != tuple(options):
            value = self.mode.value
            self.mode.options = options
            self.mode.value = value
        plan = applying.chosen(said.files, texts, self.mode.value)
        before = {file.path: file.text for file in said.files}
        number = len(plan.texts)
        self.button.description = f"Write {number:,} {'caption' if number == 1 else 'captions'}"
        self.button.disabled = not number or bool(self.session.doing)
        self.counted.show_text(self._summary(said, texts), "")
        self.common.show_text(self._common(said))
        first = list(plan.texts.items())[:SHOWN]
        self.changes.show_changes((path, before.get(path, ""), text) for path, text in first)

    def _captions(self, said: Said) -> dict[str, str]:
        """The caption of each image, as the thresholds or marks allow.

        Raises:
            DatasetError: a threshold is not a probability.
        """
        if said.is_tags:
            from trainer_core.captioning.thresholds import Chooser

            choose = Chooser(self._thresholds(said))
            return {image: ", ".join(choose(each)) for image, each in said.found.items()}
        from trainer_core.captioning import answers, asking

        accepted = tuple(answers.marks()) if self.accept.value else ()
        return asking.writable(said.found, accepted)

    def _thresholds(self, said: Said) -> Thresholds:
        from trainer_core.captioning import taggers, thresholds

        least = dict(thresholds.usual(taggers.get(said.settings.model)).least)
        for field, category in ((self.general, "general"), (self.character, "character")):
            if category in least:
                least[category] = _number(field.value)
        return thresholds.Thresholds(least=least, without=self.without.value, trigger=self.session.trigger).checked()

    def _summary(self, said: Said, texts: Mapping[str, str]) -> str:
        whole = len(said.files)
        if said.is_tags:
            tags = sum(len(text.split(", ")) for text in texts.values() if text)
            return (
                f"{len(said.found):,} of {whole:,} images are tagged, with {tags / max(1, len(texts)):.0f} tags each."
            )
        from trainer_core.captioning import answers, asking

        marks = ", ".join(
            f"{count:,}: {answers.marks()[mark].title}" for mark, count in asking.counted(said.found).items()
        )
        return f"{len(said.found):,} of {whole:,} images have an answer.{f' Marked: {marks}.' if marks else ''}"

    def _common(self, said: Said) -> str:
        """The tags that nearly all images have: they may describe the subject itself."""
        if not said.is_tags:
            return ""
        from trainer_core.captioning import thresholds

        texts = {file.image: file.text for file in said.files}
        common = thresholds.frequent(thresholds.preview(texts, said.found, self._thresholds(said)))
        if not common:
            return ""
        return (
            f"Most images have: {', '.join(common[:MOST_TAGS])}. If these describe your subject, leave them out: the trigger "
            "word learns them then."
        )

    def _write(self) -> None:
        said = self.said
        if said is None or self.session.root is None:
            return
        settings = said.settings
        author = settings.model if said.is_tags else settings.author
        title = f"{'Tags' if said.is_tags else 'Captions'} by {author}"
        work = partial(
            _applied, self.session.root, self._captions(said), self.mode.value, author, title, self.session.extension
        )
        self.session.drafts.save_all()
        self.session.do(f"Writing captions by {author}.", work)


def _applied(root: Path, texts: Mapping[str, str], mode: Mode, author: str, title: str, ending: str) -> str:
    from trainer_core.captioning import applying

    written = applying.apply(root, texts, mode, author, title, ending)
    kept = f" {written.kept:,} other captions stay as they are." if written.kept else ""
    return f"{told(written.edit)}{kept}"


def _number(text: str) -> float:
    try:
        return float(text.replace(",", "."))
    except ValueError as error:
        raise DatasetError("A threshold is a number from 0.05 to 1.") from error
