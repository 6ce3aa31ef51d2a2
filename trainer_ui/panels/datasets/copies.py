"""Images that are copies of each other, in groups, and what is done with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.components.action_list import Act, ActionList, Item
from trainer_ui.formatting import Paragraph, show
from trainer_ui.widgets import Button, VBox

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from trainer_core.curation.duplicates import Group
    from trainer_ui.dataset_session import DatasetSession

MOST_SHOWN = 40


class CopiesPanel:
    """Looks for copies, and takes those out that are not the best of their group. `see_only` shows images, with a title."""

    def __init__(self, session: DatasetSession, see_only: Callable[[str, Collection[str]], object]) -> None:
        self.session, self._see_only = session, see_only
        handler = session.handler
        self.button = Button(description="Look for copies")
        self.button.on_click(handler(lambda _: self._look()))
        self.said = Paragraph("", "small", role="status")
        self.list = ActionList("Groups of copies", handler(self._act))
        self.everything = Button(description="Move out the copies")
        self.everything.on_click(handler(lambda _: self._move_out(self._sure())))
        self.widget = VBox(
            [
                Paragraph("Copies", "heading"),
                Paragraph(
                    "The same image twice counts twice in training. The best one of each group stays: the most pixels, then the "
                    "least damage by compression, then the one with a caption. Nothing is deleted, and undo brings all back.",
                    "small",
                    "muted",
                ),
                self.button,
                self.said,
                self.list,
                self.everything,
            ],
            classes=("easel-card", "easel-copies"),
        )
        self.groups: tuple[Group, ...] | None = None
        self._version = -1

    def show(self) -> None:
        """Shows the groups that were found and are still there."""
        from trainer_core.curation import duplicates

        session = self.session
        if self._version != session.version:
            self._version, self.groups = session.version, None
        there = {one.path for one in session.entries}
        groups = [
            one
            for one in self.groups or ()
            if one.best.path in there and any(each.path in there for each in one.others)
        ]
        show(self.widget, session.root is not None)
        self.button.disabled = bool(session.doing) or not session.entries
        self.list.show_items(
            Item(
                one.best.path,
                one.best.path,
                "; ".join(
                    f"{each.path}: {duplicates.KINDS[each.kind]}{', mirrored' if each.is_mirrored else ''}"
                    for each in one.others
                    if each.path in there
                ),
                aside=f"{one.best.width:,} x {one.best.height:,}",
                acts=(
                    Act("see", "Show", f"Show {one.best.path} and its copies"),
                    Act("out", "Move out the copies", f"Move out the copies of {one.best.path}"),
                ),
            )
            for one in groups[:MOST_SHOWN]
        )
        sure = self._sure() & there
        self.everything.description = f"Move out {len(sure):,} sure {'copy' if len(sure) == 1 else 'copies'}"
        show(self.everything, bool(sure))
        self.said.show_text(_said(self.groups, len(groups)))

    def _sure(self) -> set[str]:
        """The copies that are surely the same image; edited ones are left to the user."""
        return {each.path for one in self.groups or () for each in one.others if each.kind in ("exact", "same")}

    def _look(self) -> None:
        if self.session.root is not None:
            self.session.do("Looking for copies.", lambda root=self.session.root: self._found(root))

    def _found(self, root: Path) -> str:
        from trainer_core.curation import duplicates

        found = tuple(duplicates.groups(root, self.session.extension, self.session.went_on))
        with self.session.lock:
            if self.session.root == root:
                self.groups = found
                self.session.copies = duplicates.better(found)
        return ""

    def _act(self, told: tuple[str, str]) -> None:
        best, act = told
        group = next((one for one in self.groups or () if one.best.path == best), None)
        if group is None:
            return
        if act == "see":
            self._see_only(f"{best} and its copies", (best, *(one.path for one in group.others)))
        else:
            self._move_out({one.path for one in group.others})

    def _move_out(self, paths: set[str]) -> None:
        from trainer_core.curation import taking_out

        session = self.session
        there = paths & {one.path for one in session.entries}
        if session.root is None or not there:
            return
        changes = taking_out.changes(session.root, there, session.extension)
        session.apply("dedupe", f"Move out {len(there):,} {'copy' if len(there) == 1 else 'copies'}", changes)


def _said(groups: tuple[Group, ...] | None, number: int) -> str:
    if groups is None:
        return ""
    if not number:
        return "There are no copies."
    return f"{number:,} {'image has' if number == 1 else 'images have'} copies. Look at the edited ones before you move them out."
