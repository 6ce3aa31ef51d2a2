"""The chosen checkpoint: its file, the trigger word, and where it can go: another program, a folder, the browser, the Hub."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.errors import RunError
from trainer_core.models.library import destinations
from trainer_core.training import acceptance, choice, delivery
from trainer_core.training.handing_over import hand_over, ready_file
from trainer_ui.components.copy_line import CopyLine
from trainer_ui.components.download import Download, linked
from trainer_ui.formatting import Paragraph, show
from trainer_ui.run_results import RunResults, size_text
from trainer_ui.widgets import Box, Button, Text, VBox

if TYPE_CHECKING:
    from trainer_core.models.library.destinations import Destination
    from trainer_core.training.results import Made
    from trainer_core.training.run import Run

NO_FILE = "Choose a checkpoint on the left."


def file_name(run: Run, one: Made) -> str:
    """The name of the copies of a result."""
    ending = "" if one.is_final else delivery.step_ending(one.step)
    return f"{choice.stem_of(run.folder)}{ending}{delivery.SUFFIX}"


class Place:
    """A button that copies the chosen checkpoint to a program, and when that was done."""

    def __init__(self, panel: ChosenPanel) -> None:
        self.panel = panel
        self.target: Destination | None = None
        self.button = Button(classes=("easel-deliver",))
        self.button.on_click(panel.state.session.handler(lambda _: self._copy()))
        self.done = Paragraph("", "ok", "small")
        self.widget = Box([self.button, self.done], classes=("easel-deliver-row",))

    def _copy(self) -> None:
        if self.target is not None:
            self.panel.copy(self.target.folder, self.target.title)

    def show(self, target: Destination | None) -> None:
        """Shows a program, or nothing."""
        self.target = target
        show(self.widget, target is not None)
        if target is None:
            return
        self.button.description = f"Copy to {target.title}\n{target.folder}"
        self.button.disabled = not self.panel.can_be_taken
        (self.button.add_class if self.panel.state.busy else self.button.remove_class)("easel-busy")
        self.done.show_text(self.panel.said_of(target.folder))


class ChosenPanel:
    """The card of the chosen checkpoint. It is made when Results is first opened, by an action of the user."""

    def __init__(self, state: RunResults, publish: Callable[[], object]) -> None:
        self.state = state
        session = state.session
        handler = session.handler
        self.title, self.note = Paragraph("", "heading"), Paragraph("", "muted", "small", "grow")
        self.rename = Button(description="Rename", classes=("easel-quiet",))
        self.rename.on_click(handler(lambda _: self._open("rename")))
        self.name = Text(description="Name of the copies", continuous_update=False)
        self.keep = Button(description="Keep this name", classes=("easel-small",))
        self.keep.on_click(handler(lambda _: self._keep_name()))
        self.cancel = Button(description="Cancel", classes=("easel-small",))
        self.cancel.on_click(handler(lambda _: self._open("")))
        self.naming = VBox([self.name, Box([self.keep, self.cancel], classes=("easel-row",))], classes=("easel-ask",))
        self.file, self.why = Paragraph("", "mono", "small"), Paragraph("", "small", "lines")
        self.trigger = CopyLine(label="Trigger word")
        self.word = VBox([self.trigger])
        self.places: list[Place] = []
        self.found: tuple[Destination, ...] = ()
        self.folder = Text(description="Folder", placeholder="/path/to/loras", continuous_update=False)
        self.to_folder = Button(description="Copy it there", classes=("easel-small",))
        self.to_folder.on_click(handler(lambda _: self._copy_to_own()))
        self.other = Button(classes=("easel-deliver",))
        self.other.on_click(handler(lambda _: self._open("folder")))
        self.stay = Button(description="Cancel", classes=("easel-small",))
        self.stay.on_click(handler(lambda _: self._open("")))
        self.allow = Button(description="Allow this folder and copy", classes=("easel-small",))
        self.allow.on_click(handler(lambda _: self._allow()))
        self.outside = Paragraph("", "small", role="status")
        asked = Box([self.to_folder, self.allow, self.stay], classes=("easel-row",))
        self.own = VBox([self.folder, self.outside, asked], classes=("easel-ask", "easel-enters"))
        self._refused = ""
        self._kind = "network"
        self.download = Download(self._prepared)
        self.upload = Button(
            description="Upload to Hugging Face\nprivate, with a model card",
            classes=("easel-deliver", "easel-deliver-up"),
        )
        self.upload.on_click(handler(lambda _: publish()))
        self.rows = VBox(classes=("easel-delivers",))
        head = Box([self.title, self.note, self.rename], classes=("easel-card-head",))
        self.widget = VBox(
            [head, self.file, self.naming, self.why, self.word, self.rows], classes=("easel-card", "easel-chosen")
        )
        self._opened = ""
        self._done: dict[tuple[int | None, Path], str] = {}

    @property
    def can_be_taken(self) -> bool:
        """Whether the chosen checkpoint can be copied: one that is damaged cannot.

        While something is copied, the buttons say so when they are clicked: one that is disabled loses the keyboard, and the
        next control, which gets it, would download the file.
        """
        one = self.state.made
        return one is not None and one.saved.ok is not False

    def look(self) -> None:
        """Looks which programs are there, when the user opens the place or chooses another run."""
        run = self.state.run
        self._kind = "network"
        if run is not None:
            with contextlib.suppress(RunError):
                self._kind = acceptance.kind_of(run.folder.plan)
        self.found = destinations.destinations(self._kind)
        while len(self.places) < len(self.found):
            self.places.append(Place(self))
        self.rows.children = (
            *(place.widget for place in self.places),
            self.other,
            self.own,
            self.download,
            self.upload,
        )
        kept = destinations.remembered()
        if kept is not None and not self.folder.value:
            self.folder.value = str(kept)

    def copy(self, folder: Path, where: str) -> None:
        """Copies the chosen checkpoint to a folder, in a thread."""
        run, step = self.state.run, self.state.step
        if run is None or step is None:
            return

        def act() -> str:
            given = hand_over(run, step, folder)
            if given.was_there:
                return f"It is in {where} already: {given.path}."
            self._done[step, folder] = time.strftime("%H:%M")
            return " ".join((f"Copied to {where}: {given.path}.", *given.notices))

        self.state.work(f"copying to {where}", act)

    def said_of(self, folder: Path) -> str:
        """When the chosen checkpoint was copied to a folder, "there" if it was found in it."""
        return f"✓ {said}" if (said := self._done.get((self.state.step, folder))) else ""

    def _prepared(self) -> tuple[Path, str]:
        run, one = self.state.run, self.state.made
        if run is None or one is None:
            raise RunError("No checkpoint is chosen.", NO_FILE)
        return ready_file(run, one), file_name(run, one)

    def _open(self, what: str) -> None:
        self._opened = "" if self._opened == what else what
        if self._opened == "rename" and self.state.run is not None:
            self.name.value = choice.stem_of(self.state.run.folder)
            # What is hidden cannot get the keyboard.
            show(self.naming, True)
            self.name.focus()
        elif self._opened == "folder":
            show(self.own, True)
            self.folder.focus()

    def _keep_name(self) -> None:
        if self.state.run is not None:
            choice.call(self.state.run.folder, self.name.value)
            self._opened = ""
            self._done.clear()
            self.state.read()
            self.rename.focus()

    def _allow(self) -> None:
        destinations.allow(self.folder.value)
        self._copy_to_own()

    def _copy_to_own(self) -> None:
        self._refused = ""
        try:
            folder = destinations.own_folder(self.folder.value)
        except destinations.OutsideError as error:
            self._refused = self.folder.value
            missing = not places.is_folder(places.typed(self.folder.value))
            what = (
                "It does not exist: check the path. If you allow it, Easel makes it."
                if missing
                else "Allow it if it is yours."
            )
            self.outside.show_text(f"{error.message} {what}", "warn")
            show(self.allow, True)
            self.allow.focus()
            return
        program = destinations.of_program(folder, self._kind)
        if program is not None:
            # In the program's own folder nothing would find the file.
            folder = destinations.own_folder(str(program.folder))
        destinations.remember(folder)
        self.folder.value = str(folder)
        self._opened = ""
        self.other.focus()
        self.copy(folder, f"{program.title}, which reads it there" if program else str(folder))

    def show(self) -> None:
        """Shows the chosen checkpoint."""
        run, one = self.state.run, self.state.made
        if run is None or one is None:
            self.title.show_text("No checkpoint")
            self.note.show_text("")
            self.file.show_text("This run has saved none." if run is not None else "")
            self.why.show_text("")
            for each in (self.rename, self.naming, self.word, self.rows):
                show(each, False)
            return
        show(self.rename, True)
        show(self.rows, True)
        self.title.show_text(f"Step {one.step:,}")
        notes = ("your best" if one.is_best else "", "final" if one.is_final else "")
        self.note.show_text(", ".join(filter(None, notes)))
        self.file.show_text(file_name(run, one))
        show(self.naming, self._opened == "rename")
        self._show_test(one)
        trigger = str(run.folder.plan.get("dataset", {}).get("trigger") or "")
        self.trigger.show_text(trigger)
        show(self.word, bool(trigger))
        for number, place in enumerate(self.places):
            place.show(self.found[number] if number < len(self.found) else None)
        kept = self.folder.value
        self.other.description = f"Copy to a folder\n{kept or 'of your choice; Easel remembers it'}"
        self.other.disabled = not self.can_be_taken
        show(self.own, self._opened == "folder")
        for each in (self.allow, self.outside):
            show(each, bool(self._refused) and self._refused == self.folder.value)
        size = one.saved.size_bytes
        self.download.more = (
            f"{size_text(size)}, {'by the Jupyter server' if linked(one.saved.path) else 'through the browser'}"
        )
        self.download.disabled = one.saved.ok is False
        self.upload.disabled = one.saved.ok is not True or one.saved.path.is_dir()

    def _show_test(self, one: Made) -> None:
        """Whether the checkpoint can be used, if it is not known to be fine."""
        if one.saved.ok is False:
            self.why.show_text(f"This checkpoint cannot be used.\n{' '.join(one.saved.reasons)}", "danger")
        elif one.saved.ok is None:
            self.why.show_text("This checkpoint was not tested. Copying tests it first.", "warn")
        else:
            self.why.show_text("")
