"""The bar of the dataset: which one is open, how many images it has, what is being done, and undo and redo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.formatting import Figures, Headline, hint, show
from trainer_ui.widgets import Box, Button

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_ui.dataset_session import DatasetSession


class DatasetBar:
    """State, figures, and the actions that are possible everywhere."""

    def __init__(
        self, session: DatasetSession, add: Callable[[], object], choose_another: Callable[[], object]
    ) -> None:
        self.session = session
        self.headline = Headline()
        self.figures = Figures()
        self.undo = Button(description="Undo", classes=("easel-small",))
        self.undo.on_click(session.handler(lambda _: session.undo()))
        self.redo = Button(description="Redo", classes=("easel-small",))
        self.redo.on_click(session.handler(lambda _: session.redo()))
        self.stop = Button(description="Stop", classes=("easel-small",))
        self.stop.on_click(session.handler(lambda _: session.cancelled.set()))
        self.add = Button(description="Add images", classes=("easel-small",))
        self.add.on_click(session.handler(lambda _: add()))
        self.again = Button(description="Reload", classes=("easel-small", "easel-quiet"))
        hint(self.again, "Reads the folder again: another program may have changed it")
        self.again.on_click(session.handler(lambda _: session.look()))
        self.other = Button(description="Open another", classes=("easel-small", "easel-quiet"))
        self.other.on_click(session.handler(lambda _: choose_another()))
        self.actions = Box(
            [self.stop, self.undo, self.redo, self.add, self.again, self.other], classes=("easel-row", "easel-actions")
        )
        self.widget = Box([self.headline, self.figures, self.actions], classes=("easel-ready", "easel-dataset-bar"))

    def show(self) -> None:
        """Shows how the dataset stands."""
        session = self.session
        read = session.read
        self._show_state()
        self.figures.show_figures(_figures(session) if read is not None else ())
        for button, edit, verb in (
            (self.undo, read.undoable if read else None, "Undo"),
            (self.redo, read.redoable if read else None, "Redo"),
        ):
            wanted = edit is None or bool(session.doing)
            if button.disabled != wanted:
                button.disabled = wanted
            hint(button, f"{verb}: {edit.title}"[:200] if edit is not None else "There is nothing to take back.")
        show(self.stop, bool(session.doing))
        show(self.actions, session.root is not None)

    def _show_state(self) -> None:
        session = self.session
        name = session.root.name if session.root is not None else ""
        if session.doing:
            percent = f" {session.share:.0%}" if session.share is not None else ""
            self.headline.show_state("accent", "…", name or "Datasets", f"{session.doing}{percent}", session.share)
        elif session.root is None:
            self.headline.show_state("", "1", "No dataset is open", "Bring images in, or open a folder.")
        elif session.error:
            self.headline.show_state("danger", "!", name, session.error)
        elif session.read is None:
            self.headline.show_state("accent", "…", name, "Reading the images.")
        else:
            stops, warns = _findings(session)
            tone, sign = ("danger", "!") if stops else ("warn", "!") if warns else ("ok", "✓")
            said = _said(stops, warns) if session.read.dataset.images else "There is no image to train on yet."
            self.headline.show_state(tone, sign, name, said)


def _findings(session: DatasetSession) -> tuple[int, int]:
    problems = session.read.dataset.problems if session.read is not None else ()
    return sum(one.severity == "error" for one in problems), sum(one.severity == "warning" for one in problems)


def _said(stops: int, warns: int) -> str:
    parts = [
        f"{stops} {'thing stops' if stops == 1 else 'things stop'} a training" if stops else "",
        f"{warns} {'thing' if warns == 1 else 'things'} to look at" if warns else "",
    ]
    return f"{' and '.join(filter(None, parts))}: see Check." if stops or warns else "Nothing stops a training."


def _figures(session: DatasetSession) -> list[tuple[str, str, str]]:
    entries = session.entries
    trained = sum(one.is_trained for one in entries)
    captioned = sum(bool(one.caption.strip()) for one in entries)
    return [
        ("Images", f"{len(entries):,}", "" if trained == len(entries) else f"{trained:,} are trained"),
        ("With caption", f"{captioned:,}", ""),
        ("Size", _size(sum(one.bytes for one in entries)), ""),
    ]


def _size(number: int) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:,.1f} MB"
