"""Deleting runs into the trash, with confirmation and undo, and the trash itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.training import trash
from trainer_ui import pasts
from trainer_ui.components.action_list import Act, ActionList, Item
from trainer_ui.formatting import Paragraph, show
from trainer_ui.past_reader import PastReader, in_thread
from trainer_ui.widgets import Box, Button, VBox

if TYPE_CHECKING:
    from trainer_core.training.trash import Deletion
    from trainer_ui.session import Session

MOST_SAID = 3
"""How many files or runs a question names."""
MOST_LISTED = 50


class Deleter:
    """Asks before runs are moved to the trash, and offers to put them back."""

    def __init__(self, session: Session, reader: PastReader, forget: Callable[[tuple[str, ...]], None]) -> None:
        self.session, self.reader, self._forget = session, reader, forget
        self._asked: tuple[str, ...] = ()
        self._moved: tuple[str, ...] = ()
        self._said = ""
        self._focus: Button | None = None
        """The button that gets the keyboard once it is shown: one that is hidden cannot."""
        handler = session.handler
        self.question = Paragraph("", "grow", "question", role="status")
        self.sure = Button(description="Move to the trash", classes=("easel-stop",))
        self.sure.on_click(handler(lambda _: self._delete()))
        self.keep = Button(description="Keep")
        self.keep.on_click(handler(lambda _: self._clear()))
        self.undo = Button(description="Put back")
        self.undo.on_click(handler(lambda _: self._undo()))
        self.done = Button(description="Close", classes=("easel-quiet",))
        self.done.on_click(handler(lambda _: self._clear()))
        self.widget = Box(
            [self.question, self.sure, self.keep, self.undo, self.done], classes=("easel-row", "easel-asks")
        )

    def ask(self, names: tuple[str, ...]) -> None:
        """Asks whether these runs should be deleted; says why one cannot be."""
        self._clear()
        found = [trash.look(places.runs() / name, force=True) for name in names]
        self._asked = tuple(one.run for one in found)
        self._said = question(found)
        self._focus = self.keep

    def _delete(self) -> None:
        names, self._asked = self._asked, ()
        moved: list[str] = []
        try:
            for name in names:
                trash.delete(places.runs() / name, force=True)
                moved.append(name)
        finally:
            self._moved = tuple(moved)
            self._said = (
                f"{_listed(list(map(short, moved)))} {'is' if len(moved) == 1 else 'are'} in the trash."
                if moved
                else ""
            )
            self._forget(self._moved)
            self.reader.look(now=True)
            self._focus = self.undo

    def _undo(self) -> None:
        names, self._moved, self._said = self._moved, (), ""
        # The last deletion of a name is the newest folder in the trash that had it.
        for name in names:
            newest = next((one for one in trash.trashed() if one.run == name), None)
            if newest is not None:
                trash.restore(newest.path.name)
        self.session.note(f"Put back: {_listed(list(map(short, names)))}.")
        self.reader.look(now=True)

    def _clear(self) -> None:
        self._asked, self._moved, self._said = (), (), ""

    def show(self) -> None:
        """Shows the question, or what was done."""
        self.question.show_text(self._said)
        for button in (self.sure, self.keep):
            show(button, bool(self._asked))
        for button in (self.undo, self.done):
            show(button, bool(self._moved))
        show(self.widget, bool(self._said))
        if self._focus is not None:
            self._focus.focus()
            self._focus = None


def question(found: list[Deletion]) -> str:
    """The question before a deletion: which runs, their size, what stays, and what exists nowhere else."""
    names = _listed([short(one.run) for one in found])
    parts = [f"Move {names} to the trash ({pasts.size(sum(one.bytes for one in found))})?"]
    kept = [file.name for one in found for file in one.kept]
    only = [file.name for one in found for file in one.only_here]
    later = [short(name) for one in found for name in one.resumed_by]
    if kept:
        parts.append(f"Delivered files stay: {_listed(kept)}.")
    if only:
        parts.append(
            f"Only in this folder: {_listed(only)}." if len(found) == 1 else f"Only in these folders: {_listed(only)}."
        )
    if later:
        parts.append(f"{_listed(later)} continues it, and keeps its own copy of what it needs once it was started.")
    return " ".join((*parts, "It can be put back until you empty the trash."))


def short(name: str) -> str:
    """The name of a run folder without its time."""
    head, _, tail = name.partition("-")
    _, _, rest = tail.partition("-")
    return rest if head.isdecimal() and rest else name


def _listed(words: list[str]) -> str:
    more = len(words) - MOST_SAID
    shown = [*words[:MOST_SAID], f"{more} more"] if more > 0 else words
    *first, last = shown or ["nothing"]
    return f"{', '.join(first)} and {last}" if first else last


class TrashPanel:
    """The space that runs take, and the deleted runs: each can be put back or removed for good."""

    def __init__(self, session: Session, reader: PastReader) -> None:
        self.session, self.reader = session, reader
        self.is_open = self._asks = self._moved = False
        handler = session.handler
        self.space = Paragraph("", "muted", "small", "grow")
        self.turn = Button(description="Open the trash", classes=("easel-small",))
        self.turn.on_click(handler(lambda _: self._turn()))
        self.list = ActionList("Deleted runs", handler(self._act))
        self.how = Paragraph(
            "A deleted run stays here until you remove it: nothing is removed by itself. Delivered files are not in the trash.",
            "muted", "small",
        )  # fmt: skip
        self.empty = Button(description="Empty the trash…", classes=("easel-small",))
        self.empty.on_click(handler(lambda _: self._ask(True)))
        self.question = Paragraph("", "grow", "question", role="status")
        self.sure = Button(description="Remove for good", classes=("easel-small", "easel-stop"))
        self.sure.on_click(handler(lambda _: self._empty()))
        self.keep = Button(description="Keep them", classes=("easel-small",))
        self.keep.on_click(handler(lambda _: self._ask(False)))
        self.asking = Box([self.question, self.sure, self.keep], classes=("easel-row",))
        self.inside = VBox([self.how, self.list, self.empty, self.asking], classes=("easel-trash",))
        head = Box([Paragraph("Space", "heading"), self.space, self.turn], classes=("easel-row",))
        self.widget = VBox([head, self.inside], classes=("easel-card",))

    def _turn(self) -> None:
        self.is_open, self._asks = not self.is_open, False

    def _ask(self, asks: bool) -> None:
        self._asks, self._moved = asks, True

    def _empty(self) -> None:
        self._asks = False
        names = tuple(one.path.name for one in self._trash)
        self.turn.focus()
        in_thread(self.session, lambda: self._remove(names))

    def _remove(self, names: tuple[str, ...]) -> None:
        removed = trash.empty(names)
        many = "1 run" if len(removed) == 1 else f"{len(removed)} runs"
        self.session.note(f"Removed {many} for good, {pasts.size(sum(one.bytes for one in removed))}.")
        self.reader.look(now=True)

    def _act(self, pair: tuple[str, str]) -> None:
        name, act = pair
        if act == "back":
            path = trash.restore(name)
            self.session.note(f"Put back: {short(path.name)}.")
            self.reader.look(now=True)
        else:
            in_thread(self.session, lambda: self._remove((name,)))

    @property
    def _trash(self) -> tuple[trash.Trashed, ...]:
        return self.reader.seen.trash if self.reader.seen is not None else ()

    def show(self) -> None:
        """Shows how much space runs and trash take, and the deleted runs if the trash is open."""
        seen = self.reader.seen
        if seen is None:
            return
        deleted = seen.trash
        size = sum(one.bytes for one in deleted)
        runs = "1 run" if len(seen.runs) == 1 else f"{len(seen.runs):,} runs"
        told = f"{pasts.size(sum(seen.sizes.values()))} in {runs}"
        self.space.show_text(f"{told}, {pasts.size(size)} in the trash" if deleted else told)
        self.is_open = self.is_open and bool(deleted)
        self.turn.description = "Close the trash" if self.is_open else f"Open the trash ({len(deleted)})"
        show(self.turn, bool(deleted))
        show(self.inside, self.is_open)
        show(self.empty, not self._asks)
        show(self.asking, self._asks)
        many = "the deleted run" if len(deleted) == 1 else f"all {len(deleted)} deleted runs"
        self.question.show_text(
            f"Remove {many} for good ({pasts.size(size)})? This cannot be undone." if self._asks else ""
        )
        if self._moved:
            self._moved = False
            (self.keep if self._asks else self.empty).focus()
        if self.is_open:
            self.list.show_items(map(_item, deleted[:MOST_LISTED]))


def _item(one: trash.Trashed) -> Item:
    name, size = short(one.run), pasts.size(one.bytes)
    sure = f"Remove {name} for good ({size})? This cannot be undone."
    return Item(
        one.path.name,
        name,
        f"deleted {pasts.moment(one.deleted)}, {size}" if one.deleted else size,
        acts=(
            Act("back", "Put back", f"Put {name} back into the history"),
            Act("remove", "Remove…", f"Remove {name} for good", question=sure, sure="Remove"),
        ),
    )
