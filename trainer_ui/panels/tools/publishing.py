"""The upload of a file to Hugging Face in a notebook of tools: its bar, the panel with the card, and what is known of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.text import amount, printable
from trainer_ui.formatting import Figures, Headline, Pairs, Paragraph, show
from trainer_ui.panels.tools.bar import megabytes
from trainer_ui.widgets import Box, VBox

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_core.publishing.file_offer import FileOffer
    from trainer_ui.panels.publish import PublishPanel
    from trainer_ui.tool_session import ToolSession, Utility
    from trainer_ui.views import Views

MOST_NOTES = 4
WORDS = {"yes": "loads it", "partly": "loads a part of it", "no": "does not load it", "not known": "not known"}


class FileSource:
    """The file that is chosen in the place of the upload."""

    stays_open, has_samples = True, False

    def __init__(self, session: ToolSession, utility: Utility) -> None:
        self.session, self.utility = session, utility

    @property
    def views(self) -> Views:
        """The views of the app."""
        return self.session

    @property
    def key(self) -> object:
        """The path as it was entered; None for none."""
        return self.session.desks[self.utility.id].values["file"] or None

    @property
    def title(self) -> str:
        """The name of the file."""
        from trainer_core import places

        return printable(places.typed(str(self.key)).name, 80) if self.key else ""

    def reader(self) -> Callable[[], FileOffer]:
        """Reads the header of the file."""
        from trainer_core.publishing import file_offer

        file = str(self.key)
        return lambda: file_offer.offer(file)

    def changed(self) -> None:
        """Nothing: this place is filled each time that it is shown."""


class PublishPlace:
    """The panel of the upload. It is made when the place is first shown: that is an action of the user, and a thread may make no widget."""

    def __init__(self, session: ToolSession, utility: Utility) -> None:
        self.session, self.source = session, FileSource(session, utility)
        self.panel: PublishPanel | None = None
        self.widget = VBox(classes=("easel-tool-form",))

    @property
    def offer(self) -> FileOffer | None:
        """The file, once it was read."""
        from trainer_core.publishing.file_offer import FileOffer

        found = self.panel.offer if self.panel is not None else None
        return found if isinstance(found, FileOffer) and self.source.key else None

    def make(self) -> None:
        """Makes the panel, if it may be made now."""
        if self.panel is None and not self.session.unasked:
            from trainer_ui.panels.publish import PublishPanel

            self.panel = PublishPanel(self.source)
            self.widget.children = (self.panel.widget,)
            self.panel.look()

    def show(self) -> None:
        """Shows the form for a file that can be uploaded, and the upload."""
        if self.panel is None:
            return
        self.panel.show()
        is_ready = self.panel.is_open and self.offer is not None
        show(self.panel.form, is_ready)
        show(self.panel.widget, is_ready or self.panel.jobs.job is not None)

    def close(self) -> None:
        """Ends the feed; an upload goes on."""
        if self.panel is not None:
            self.panel.end()


class PublishBar:
    """Whether the chosen file can be uploaded, and why not."""

    def __init__(self, place: PublishPlace) -> None:
        self.place = place
        self.headline, self.figures = Headline(), Figures()
        self.widget = Box([self.headline, self.figures], classes=("easel-ready", "easel-tool-bar"))

    def show(self) -> None:
        """Shows the state of the file. The bar is the first of the place, so it makes the panel."""
        self.place.make()
        panel, offer = self.place.panel, self.place.offer
        if panel is not None and panel.send not in self.widget.children:
            self.widget.children = (*self.widget.children, panel.send)
        self.figures.show_figures(_figures(offer) if offer is not None else ())
        if panel is not None and panel.jobs.is_live:
            self.headline.show_state("accent", "…", "Uploading", "It goes on if you close this page.")
        elif not self.place.source.key:
            self.headline.show_state("", "1", "Publish", "Choose a LoRA below.")
        elif offer is not None:
            self.headline.show_state("ok", "✓", "Ready", "Read the card below, then upload.")
        elif panel is not None and panel.failed:
            self.headline.show_state("warn", "!", "This cannot be uploaded", panel.failed)
        elif panel is not None:
            self.headline.show_state("accent", "…", "Publish", "Reading the header of the file.")


class FileFacts:
    """What is known of the file, from which the card is written."""

    def __init__(self, place: PublishPlace) -> None:
        self.place = place
        self.none = Paragraph(
            "Choose a LoRA, and this says what is known of it. The file itself is only read.", "muted", "small"
        )
        self.pairs = Pairs()
        self.notes = [Paragraph("", "small") for _ in range(MOST_NOTES)]
        self.widget = VBox(
            [Paragraph("What is known of the file", "heading"), self.none, self.pairs, *self.notes],
            classes=("easel-card", "easel-tool-notes"),
        )  # fmt: skip

    def show(self) -> None:
        """Shows what was read."""
        offer = self.place.offer
        show(self.none, offer is None)
        show(self.pairs, offer is not None)
        notes = list(offer.notes()) if offer is not None else []
        for paragraph, text in zip(self.notes, [*notes, *[""] * MOST_NOTES], strict=False):
            paragraph.show_text(text)
        if offer is not None:
            self.pairs.show_pairs(_facts(offer))


def _facts(offer: FileOffer) -> list[tuple[str, str]]:
    from trainer_core.models.detection.layouts import TITLES

    known = offer.known
    words = ", ".join(one.text if one.share is None else f"{one.text} ({one.share:.0%})" for one in known.triggers)
    told = [
        ("Kind", TITLES.get(known.kind, "network")),
        ("Family", known.family_title or "not recognised"),
        ("Rank", str(known.rank) if known.rank is not None else "differs from layer to layer"),
        ("Title", known.title),
        ("Author", known.author),
        ("Licence in the file", known.licence),
        ("Base model", known.base),
        ("Likely trigger words", words or "none are known"),
        *((one.program, WORDS[one.loads]) for one in known.loading),
    ]
    return [(name, value) for name, value in told if value]


def _figures(offer: FileOffer) -> list[tuple[str, str, str]]:
    size = offer.file.stat().st_size if offer.file.is_file() else 0
    return [("File", megabytes(size), ""), ("Personal metadata", amount(len(offer.lost), "key"), "")]
