"""The dataset app: images in, a dataset that trains well out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core import places
from trainer_ui.app import WATCH, App, Place
from trainer_ui.boundary import attempt
from trainer_ui.dataset_session import DatasetSession
from trainer_ui.job_session import known_jobs
from trainer_ui.panels.datasets.bar import DatasetBar
from trainer_ui.panels.datasets.bulk import BulkPanel
from trainer_ui.panels.datasets.copies import CopiesPanel
from trainer_ui.panels.datasets.edits import EditsPanel
from trainer_ui.panels.datasets.export import ExportPanel
from trainer_ui.panels.datasets.figures import FiguresPanel
from trainer_ui.panels.datasets.findings import FindingsPanel
from trainer_ui.panels.datasets.images import ImagesPanel
from trainer_ui.panels.datasets.machine import KINDS, MachinePanel
from trainer_ui.panels.datasets.machine_job import MachineJob
from trainer_ui.panels.datasets.machine_result import MachineResult
from trainer_ui.panels.datasets.one_image import OneImage
from trainer_ui.panels.datasets.quality import QualityPanel
from trainer_ui.panels.datasets.source import SourcePanel
from trainer_ui.panels.datasets.tags import TagsPanel

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

IMAGES, CAPTIONS, CHECK, EDITS = "images", "captions", "check", "edits"
PAGE = "dataset-preparation"
"""The page of the guide."""


def dataset_preparation(folder: str | Path = "") -> None:
    """Displays the dataset app, with the dataset in this folder if one is named."""
    DatasetPreparation(folder).present()


class DatasetPreparation(App):
    """Brings images in, shows them, and makes a dataset of them that trains well."""

    id, title = "dataset_preparation", "Dataset Preparation"
    guide_page = PAGE
    fills_hidden = False

    def __init__(self, folder: str | Path = "") -> None:
        self.session = session = DatasetSession()
        self._folder = folder
        self._noted: Path | None = None
        """The dataset that was noted as the one that is open."""
        self.source = SourcePanel(session)
        self.one = OneImage(session)
        self.images = ImagesPanel(session)
        self.bulk = BulkPanel(session)
        self.tags = TagsPanel(session, self.bulk.prepare, self.see)
        self.findings, self.figures = FindingsPanel(session, self.see_only), FiguresPanel(session, self.see_only)
        self.copies, self.quality = CopiesPanel(session, self.see_only), QualityPanel(session, self.see_only)
        self.machine = MachinePanel(session)
        self.result, self.run = MachineResult(session, self.machine), MachineJob(session)
        self.edits, self.export = EditsPanel(session), ExportPanel(session)
        self.bars = {
            name: DatasetBar(session, self._add, self._another) for name in (IMAGES, CAPTIONS, WATCH, CHECK, EDITS)
        }
        super().__init__(
            session.jobs,
            {
                IMAGES: Place(
                    "Images", [[self.source, self.images], [self.one]], self.bars[IMAGES], "wide-left", (PAGE, "images")
                ),
                CAPTIONS: Place(
                    "Captions", [[self.bulk], [self.tags]], self.bars[CAPTIONS], "wide-left", (PAGE, "captions")
                ),
                WATCH: Place(
                    "Tagging",
                    [[self.machine, self.result], [self.run]],
                    self.bars[WATCH],
                    "wide-left",
                    (PAGE, "tagging"),
                ),
                CHECK: Place(
                    "Check",
                    [[self.findings, self.figures], [self.copies, self.quality]],
                    self.bars[CHECK],
                    "even",
                    (PAGE, "check"),
                ),
                EDITS: Place(
                    "Edits and export",
                    [[self.edits], [self.export]],
                    self.bars[EDITS],
                    "wide-left",
                    (PAGE, "edits-and-export"),
                ),
            },
        )
        session.add_view(self._count)

    def see(self, expression: str) -> None:
        """Shows the images that fit a filter."""
        self.session.list.set_filter(expression)
        self.go(IMAGES)

    def see_only(self, title: str, paths: Collection[str]) -> None:
        """Shows these images and no others."""
        self.session.list.show_only(title, paths)
        self.go(IMAGES)

    def restore(self) -> None:
        """Opens the dataset that was named, or else the one that was open last."""
        from trainer_core.curation import known

        folder = places.typed(self._folder) if self._folder else known.opened_last()
        if folder is not None:
            attempt(lambda: self.session.open(folder), self.session.note)
            self.source.turn(is_open=False)
        self.session.jobs.follow_live(job for kind in KINDS for job in known_jobs(kind))

    def beat(self) -> None:
        """Shows how far slow work is."""
        if self.session.doing:
            self.bars[self.places.chosen].show()

    def close(self, why: str = "") -> None:
        """Saves what is being typed, and ends."""
        self.session.drafts.save_all()
        self.source.drop.forget()
        super().close(why)

    def _add(self) -> None:
        self.source.turn(is_open=True)
        self._bring()

    def _another(self) -> None:
        self.source.another()
        self._bring()

    def _bring(self) -> None:
        self.go(IMAGES)
        self.source.drop.focus()

    def _note(self, folder: Path) -> None:
        from trainer_core.curation import known

        known.note_opened(folder)

    def _count(self) -> None:
        """Shows on their tabs how many images and findings there are."""
        read = self.session.read
        if self.session.root is not None and self.session.root != self._noted:
            self._noted = self.session.root
            self._note(self._noted)
        problems = [one for one in read.dataset.problems if one.severity != "info"] if read is not None else []
        wanted = {
            name: number for name, number in ((IMAGES, len(self.session.entries)), (CHECK, len(problems))) if number
        }
        if self.places.counts != wanted:
            self.places.counts = wanted
