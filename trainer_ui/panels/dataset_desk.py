"""The pieces of the dataset app inside a trainer: bring images in, look at them, write captions, and mend what is wrong."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_ui.boundary import attempt
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.card import fold, row
from trainer_ui.widgets import Box, Button, Dropdown, VBox, Widget

if TYPE_CHECKING:
    from trainer_ui.dataset_session import DatasetSession
    from trainer_ui.panels.datasets.source import SourcePanel
    from trainer_ui.session import Session

NONE = ("choose one of yours", "")
CAPTION = "Caption these: let a model write tags or captions"


class DatasetDesk:
    """The datasets that are known, and three groups that are made when they are opened."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.inner: DatasetSession | None = None
        """The dataset that is looked at here; None until a group was opened."""
        self.known = Dropdown(description="Your datasets", options=[NONE], value="")
        self.known.observe(session.handler(self._choose), "value")
        self.again = Button(description="Refresh", classes=("easel-small", "easel-quiet"))
        self.again.on_click(session.handler(lambda _: self.look()))
        self.yours = row(self.known, self.again)
        self.messages = [Paragraph("", "small", "accent", role="status") for _ in range(3)]
        self.brings = fold(session, "Bring images in: from your computer, or a link", self._bringing)
        self.looks = fold(session, "Look at them, write captions, mend what is wrong", self._looking)
        self.writes = fold(session, CAPTION, self._writing)
        self._source: SourcePanel | None = None
        self._read: object = None

    def look(self) -> None:
        """Lists the datasets that are known, in a thread: a folder may lie on a slow disk."""
        threading.Thread(target=attempt, args=(self._list, self.session.note), name="easel-known", daemon=True).start()

    def _list(self) -> None:
        from trainer_core.curation import known

        found = [
            (f"{one.name} ({one.images:,} images, {one.captions:,} captions)", str(one.path))
            for one in known.datasets()
        ]
        with self.session.lock:
            if list(self.known.options) == [NONE, *found]:
                return
            self.known.options = [NONE, *found]
        self.session.show_soon()

    def show(self) -> None:
        """Shows the datasets, and follows the folder that is set."""
        path = self.session.values["dataset.path"]
        show(self.yours, len(self.known.options) > 1)
        wanted = path if path in [value for _, value in self.known.options] else ""
        if self.known.value != wanted:
            self.known.value = wanted
        for group in (self.looks, self.writes):
            show(group, bool(path))
        self.writes.children[0].description = self._lacking()
        if self.inner is not None:
            self._follow(path)

    @property
    def datasets(self) -> list[tuple[str, str]]:
        """The datasets that are known, as (title, path)."""
        return [(title, path) for title, path in self.known.options if path]

    def _lacking(self) -> str:
        """The title of the group for captions, with the number of images that have none."""
        from trainer_ui.dataset_list import WITHOUT

        dataset, inner, without = self.session.bench.state.facts.dataset, self.inner, 0
        if inner is not None and inner.read is not None:
            # As the form inside counts them.
            without = len(inner.list.of(WITHOUT))
        elif dataset is not None:
            held_out = dataset.validation.images if dataset.validation is not None else ()
            without = sum(not (one.caption or "").strip() for one in (*dataset.images, *held_out))
        images = f"{without:,} {'image has' if without == 1 else 'images have'}"
        return f"{CAPTION} ({images} none)" if without else CAPTION

    def close(self) -> None:
        """Saves what is being typed, and ends the feed of a job; the job goes on."""
        if self.inner is not None:
            self.inner.drafts.save_all()
            self.inner.jobs.close()
        if self._source is not None:
            self._source.drop.forget()

    def _choose(self, path: str) -> None:
        if path and path != self.session.values["dataset.path"]:
            self.session.change({"dataset.path": path})

    # ---- the dataset inside ----
    def _begun(self) -> DatasetSession:
        """The session of the dataset, made when the first group is opened."""
        from trainer_ui.dataset_session import DatasetSession

        if self.inner is None:
            self.inner = DatasetSession()
            # One lock for both: each calls the other while it holds its own.
            self.inner.lock = self.session.lock
            self.inner.jobs.refusal = self.session.jobs.refusal
            self.inner.add_view(self._told)
            self._follow(self.session.values["dataset.path"])
        return self.inner

    def _follow(self, path: str) -> None:
        """Looks at the folder that is set, if it is another one."""
        inner = self.inner
        folder = places.typed(path) if path else None
        if inner is None or folder is None or not folder.is_dir():
            return
        inner.trigger = self.session.values["dataset.trigger"]
        backend = self.session.backend
        inner.engine = backend.manifest.id if backend is not None else ""
        if inner.root is None or Path(inner.root) != folder:
            attempt(lambda: inner.open(folder), inner.note)

    def _told(self) -> None:
        """Shows what the dataset says, and takes over another folder, or files that were changed."""
        inner = self.inner
        if inner is None:
            return
        for one in self.messages:
            one.show_text(inner.doing or inner.message)
        root, read = inner.root, inner.read
        if root is None or read is None or read is self._read:
            return
        is_first, self._read = self._read is None, read
        known = self.session.values["dataset.path"]
        is_same = bool(known) and places.typed(known) == root
        if is_same and is_first:
            return
        # What was set is set again: the trainer reads the files that it names anew.
        self.session.change({"dataset.path": known if is_same else str(root)})
        if not is_same:
            self.look()
        self.session.show_soon()

    def _bringing(self) -> list[Widget]:
        from trainer_ui.panels.datasets.source import SourcePanel

        inner = self._begun()
        self._source = source = SourcePanel(inner)
        inner.add_view(source.show)
        inner.show()
        return [source.widget, self.messages[0]]

    def _looking(self) -> list[Widget]:
        from trainer_ui.panels.datasets.findings import FindingsPanel
        from trainer_ui.panels.datasets.images import ImagesPanel
        from trainer_ui.panels.datasets.one_image import OneImage

        inner = self._begun()

        images, one, findings = ImagesPanel(inner), OneImage(inner), FindingsPanel(inner, inner.list.show_only)
        undo = Button(description="Undo the last change", classes=("easel-small",))
        undo.on_click(inner.handler(lambda _: inner.undo()))
        for panel in (images, one, findings):
            inner.add_view(panel.show)
        inner.add_view(lambda: show(undo, inner.read is not None and inner.read.undoable is not None))
        inner.show()
        whole = Paragraph(
            "Copies, quality, and many captions at once: in the notebook Dataset Preparation.",
            "small",
            "muted",
        )
        beside = Box([VBox([images.widget]), VBox([one.widget])], classes=("easel-desk",))
        return [row(undo, self.messages[1]), beside, findings.widget, whole]

    def _writing(self) -> list[Widget]:
        from trainer_ui.dataset_list import WITHOUT
        from trainer_ui.job_session import known_jobs
        from trainer_ui.panels.datasets.machine import KINDS, MachinePanel
        from trainer_ui.panels.datasets.machine_job import MachineJob
        from trainer_ui.panels.datasets.machine_result import MachineResult

        inner = self._begun()
        machine = MachinePanel(inner, WITHOUT)
        result, job = MachineResult(inner, machine), MachineJob(inner)
        undo = Button(description="Undo the last change", classes=("easel-small",))
        undo.on_click(inner.handler(lambda _: inner.undo()))
        for panel in (machine, result, job):
            inner.add_view(panel.show)
        inner.add_view(lambda: show(undo, inner.read is not None and inner.read.undoable is not None))
        # A kernel before this one may have started it.
        inner.jobs.follow_live(one for kind in KINDS for one in known_jobs(kind))
        inner.show()
        return [machine.widget, result.widget, job.widget, row(undo, self.messages[2])]
