"""Where the images come from: a dataset that is known, a folder of this machine, files of the user's computer, or a link."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.errors import DatasetError
from trainer_core.text import printable
from trainer_ui.browse import Browse
from trainer_ui.components.action_list import Act, ActionList, Item
from trainer_ui.components.uploader import Uploader
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.card import fold, row
from trainer_ui.widgets import Box, Button, Checkbox, Text, VBox

if TYPE_CHECKING:
    from trainer_core.curation.importing import Imported
    from trainer_core.curation.receiving import Received, Receiver
    from trainer_core.models.downloads.links import Link
    from trainer_ui.dataset_session import DatasetSession

MOST_KNOWN = 12
NAMED, LISTED = 5, 20
"""How many files an error names, and how many the list of an import."""
FIRST_NAME = "my images"
NAMES = "Which files were left out, and which have another name now"


class SourcePanel:
    """Opens a dataset, and brings images into it or into a new one."""

    def __init__(self, session: DatasetSession) -> None:
        self.session = session
        handler = session.handler
        self.is_open = True
        """Whether it is shown, and not only its one line."""
        self.path = Text(description="Folder on this machine", placeholder="/path/to/images", continuous_update=False)
        self.path.observe(handler(self._open), "value")
        self.browse = Browse(session, "Dataset", self._open, lambda: self.path.value, wants="folder")  # type: ignore[arg-type]
        self.known = ActionList("Datasets", handler(lambda told: self._open(told[0])))
        self.no_known = Paragraph("", "muted", "small")
        self.name = Text(description="Name of the new dataset", value=FIRST_NAME, continuous_update=False)
        self.naming = helped(self.name, "The folder that is made for it, among Easel's datasets.")
        self.into = Paragraph("", "small", "muted")
        self.converts = Checkbox(
            description="Convert what the engines cannot read well: HEIC, TIFF, GIF, sideways, very large",
            indent=False,
            value=True,
        )
        self.drop = Uploader("Bring images in", self._receiver, self._received)
        self.link = Text(
            description="Link",
            placeholder="https://…/images.zip, or org/name of a dataset on Hugging Face",
            continuous_update=False,
        )
        self.fetch = Button(description="Fetch it", classes=("easel-small",))
        self.fetch.on_click(handler(lambda _: self._fetch()))
        self.report = Paragraph("", "small", role="status")
        self.left_out = Paragraph("", "small", "muted", "lines")
        """Which files did not come in, and which have another name now."""
        self.names = VBox([fold(session, NAMES, lambda: [self.left_out])])
        show(self.names, False)
        self.new = Button(description="Bring these into a new dataset instead", classes=("easel-small", "easel-quiet"))
        self.new.on_click(handler(lambda _: self._leave()))
        self.heading = Paragraph("Bring images in", "heading")
        opening = fold(session, "A folder of this machine", lambda: [self.path, self.browse.widget])
        linking = fold(session, "A link", lambda: [Box([self.link, self.fetch], classes=("easel-row", "easel-enters"))])
        self.close_line = Button(description="Close", classes=("easel-small", "easel-quiet"))
        self.close_line.on_click(handler(lambda _: self.turn(is_open=False)))
        self.datasets = VBox([Paragraph("Datasets of yours", "heading"), self.known, self.no_known, opening])
        self.inside = VBox(
            [
                self.heading,
                self.naming,
                row(self.into, self.new),
                self.drop,
                self.converts,
                linking,
                self.report,
                self.names,
                self.close_line,
            ]
        )
        self.widget = VBox([self.inside, self.datasets], classes=("easel-card", "easel-source-card"))
        self._is_new = False
        self._suggested = FIRST_NAME
        """The name that the field has as long as the user types none."""
        self._looked: object = None

    # ---- what is shown ----
    def turn(self, *, is_open: bool) -> None:
        """Shows how images come in, or only a button for it."""
        self.is_open = is_open

    def another(self) -> None:
        """Offers the other datasets."""
        self.is_open = self._is_new = True
        self._looked = None

    def show(self) -> None:
        """Shows the datasets that are known, and where images go."""
        session = self.session
        has_one = session.root is not None
        adds = has_one and not self._is_new
        show(self.widget, self.is_open or not has_one)
        show(self.datasets, not has_one or self._is_new)
        show(self.naming, not adds)
        show(self.into, adds)
        show(self.new, adds)
        show(self.close_line, has_one)
        self.heading.show_text("Add images" if adds else "Bring images in")
        self.into.show_text(f"They go into {session.root}." if adds else "")
        self.drop.words = "Drop images here, with their captions if they have any.\nA folder or a zip is fine, too. Nothing on your computer changes."
        self.drop.busy = bool(session.doing)
        self._show_known()

    def _show_known(self) -> None:
        from trainer_core.curation import known

        if self._looked == (self.session.version, self.is_open):
            return
        self._looked = self.session.version, self.is_open
        if self.name.value == self._suggested:
            self.name.value = self._suggested = known.free_name(FIRST_NAME)
        found = known.datasets()[:MOST_KNOWN]
        self.known.show_items(
            Item(
                str(one.path),
                one.name,
                f"{one.images:,} images, {one.captions:,} captions. {one.path}",
                acts=(Act("open", "Open", f"Open the dataset {one.name}"),),
            )
            for one in found
        )
        self.no_known.show_text(
            "" if found else "There is none yet. Bring images in, or open a folder of this machine."
        )

    # ---- what the user does ----
    def _leave(self) -> None:
        self._is_new = True

    def _open(self, path: str) -> None:
        if not path.strip():
            return
        folder = places.typed(path)
        self.session.open(folder)
        self.path.value = str(folder)
        self._is_new = self.is_open = False
        self.report.show_text("")
        self._name(())

    def _target(self) -> Path:
        """The folder that gets what comes in."""
        from trainer_core.curation import known

        root = self.session.root
        return root if root is not None and not self._is_new else known.new_folder(self.name.value)

    def _receiver(self) -> Receiver:
        from trainer_core.curation.receiving import Receiver

        if self.session.doing:
            raise DatasetError(f"Wait until this is done: {self.session.doing}")
        # A name that cannot be used is said before anything is sent.
        self._target()
        return Receiver()

    def _received(self, received: Received) -> str:
        """Adds what was sent, in the thread of the uploader."""
        if not received.sources:
            left = "; ".join(f"{name}: {why}" for name, why in received.refused[:NAMED])
            raise DatasetError(f"Nothing was added. {left}".strip(), "Choose images, captions, a folder or a zip.")
        target = self._target()
        return self._done(target, self._add(target, received.sources, "your computer"), received.refused)

    def _fetch(self) -> None:
        from trainer_core.curation import fetching

        found = fetching.parse(self.link.value)
        if found is None:
            raise DatasetError(
                "This is no link to a dataset.",
                "Paste the address of a zip, or the org/name of a dataset on Hugging Face.",
            )
        self.session.do(f"Fetching {found.shown}.", partial(self._fetched, found, self._target()))

    def _fetched(self, link: Link, target: Path) -> str:
        from trainer_core.curation import fetching

        way = fetching.Way(
            progress=lambda seen: self.session.went_on(seen.done_bytes, seen.total_bytes or 0),
            cancel=self.session.cancelled,
        )
        found = fetching.look(link, way)
        with fetching.fetched(found, way) as arrived:
            return self._done(target, self._add(target, arrived.sources, arrived.origin), arrived.left_out)

    def _add(self, target: Path, sources: Sequence[Path], origin: str) -> Imported:
        from trainer_core.curation import converting, importing

        wishes = importing.Wishes(
            ending=self.session.extension, convert=tuple(converting.KINDS) if self.converts.value else (), origin=origin
        )
        return importing.add(target, sources, wishes, self.session.going)

    def _done(self, target: Path, found: Imported, refused: Sequence[tuple[str, str]]) -> str:
        """Says what came in, and shows it."""
        left = [*refused, *found.left_out]
        words = told(found, len(left))
        with self.session.lock:
            is_other = self.session.root is None or places.real(self.session.root) != places.real(target)
            self.report.show_text(words, "ok")
            self._name((*_listed("Left out", left, ": "), *_listed("Named anew", found.renamed, " is now ")))
            self._is_new = self.is_open = False
            if is_other:
                self.session.open(target)
            else:
                self.session.look()
            self.session.note(words)
        self.session.show_soon()
        return words

    def _name(self, lines: Sequence[str]) -> None:
        """Lists the files of the last import that did not come in as they were."""
        self.left_out.show_text("\n".join(lines))
        show(self.names, bool(lines))


def _listed(title: str, pairs: Sequence[tuple[str, str]], between: str) -> list[str]:
    """The first of these pairs as lines below a title with their number; none without pairs."""
    rest = len(pairs) - LISTED
    lines = [f"{printable(first, 200)}{between}{printable(second, 300)}" for first, second in pairs[:LISTED]]
    more = [f"and {rest:,} more; `easel dataset import` with --json lists all"] if rest > 0 else []
    return [f"{title} ({len(pairs):,}):", *lines, *more] if pairs else []


def told(found: Imported, left: int) -> str:
    """What came in, in a sentence."""
    images = f"{found.images:,} {'image' if found.images == 1 else 'images'}"
    captions = f" with {found.captions:,} {'caption' if found.captions == 1 else 'captions'}" if found.captions else ""
    masks = f" and {found.masks:,} {'mask' if found.masks == 1 else 'masks'}" if found.masks else ""
    changed = len(found.converted)
    made = (
        f" {changed:,} {'was' if changed == 1 else 'were'} converted; the originals are kept, see Edits."
        if changed
        else ""
    )
    known = f" {len(found.known):,} {'was' if len(found.known) == 1 else 'were'} here already." if found.known else ""
    notes = f" {' '.join(found.notes)}" if found.notes else ""
    out = f" {left:,} {'file was' if left == 1 else 'files were'} left out." if left else ""
    names = len(found.renamed)
    out += f" {names:,} {'file has' if names == 1 else 'files have'} another name now." if names else ""
    return f"Added {images}{captions}{masks}.{made}{known}{out}{notes} Undo takes it back."
