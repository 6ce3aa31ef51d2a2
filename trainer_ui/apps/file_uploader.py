"""The file uploader: files in, tidied up, and out again, for a machine that can only be reached through a notebook."""

from __future__ import annotations

from trainer_ui.app import WATCH, App, Place
from trainer_ui.files_session import FilesSession
from trainer_ui.job_session import known_jobs
from trainer_ui.panels.files.arriving import Arriving, Unfinished
from trainer_ui.panels.files.bar import FilesBar
from trainer_ui.panels.files.browse import ChosenPanel, FilesPanel
from trainer_ui.panels.files.link import KIND, LinkJob, LinkPanel
from trainer_ui.panels.files.trash import TrashPanel
from trainer_ui.panels.files.where import Where

BRING, FILES, TRASH = "bring", "files", "trash"
PAGE = "files"
"""The page of the guide."""


def file_uploader() -> None:
    """Displays the file uploader."""
    FileUploader().present()


class FileUploader(App):
    """Brings files in, shows those that are here, and sends them out."""

    id, title = "file_uploader", "File Uploader"
    guide_page = PAGE
    fills_hidden = False

    def __init__(self) -> None:
        self.session = session = FilesSession()
        self.where, self.arriving = Where(session), Arriving(session)
        self.unfinished = Unfinished(session, self.arriving.go_on_with)
        self.chosen = ChosenPanel(session)
        self.files = FilesPanel(session, self.chosen.ask)
        self.link, self.run, self.trash = LinkPanel(session), LinkJob(session), TrashPanel(session)
        self.bars = {name: FilesBar(session, self.arriving.drop) for name in (BRING, WATCH, FILES, TRASH)}
        super().__init__(
            session.jobs,
            {
                BRING: Place(
                    "Bring in",
                    [[self.where, self.arriving, self.unfinished]],
                    self.bars[BRING],
                    guide=(PAGE, "bring-files-in"),
                ),
                WATCH: Place("From a link", [[self.link], [self.run]], self.bars[WATCH], "even", (PAGE, "from-a-link")),
                FILES: Place(
                    "Files",
                    [[self.files], [self.chosen]],
                    self.bars[FILES],
                    "wide-left",
                    (PAGE, "the-files-that-are-here"),
                ),
                TRASH: Place("Trash", [[self.trash]], self.bars[TRASH], "plain", (PAGE, "the-trash")),
            },
        )
        session.add_view(self._count)
        self.places.observe(session.handler(self._opened), "chosen")

    def restore(self) -> None:
        """Reads the folders, and finds a link again that is being fetched."""
        self.session.look()
        self.session.jobs.follow_live(known_jobs(KIND))

    def beat(self) -> None:
        """Shows how far slow work and files that arrive are, and which files have come."""
        if self.session.doing or self.arriving.drop.is_receiving:
            self.bars[self.places.chosen].show()
        if self.session.is_stale and self.places.chosen == FILES:
            self.session.look_soon()

    def close(self, why: str = "") -> None:
        """Ends what is being received; the parts stay for the next time."""
        self.arriving.drop.close_receiver()
        super().close(why)

    def _opened(self, place: str) -> None:
        """Reads the folder again when its place is opened: files may have come, from here or from another program."""
        if place in (FILES, TRASH):
            self.session.look()

    def _count(self) -> None:
        """Shows on its tab how many things are in the trash."""
        wanted = {TRASH: len(self.session.deleted)} if self.session.deleted else {}
        if self.places.counts != wanted:
            self.places.counts = wanted
