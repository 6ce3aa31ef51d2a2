"""What was deleted: put back, or removed for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.components.action_list import Act, ActionList, Item
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.files.arriving import age
from trainer_ui.panels.files.bar import size
from trainer_ui.widgets import Box, Button, VBox

if TYPE_CHECKING:
    from trainer_core.keeping.carrying import Going
    from trainer_core.keeping.trash import Deleted
    from trainer_ui.files_session import FilesSession

MOST_LISTED = 200


class TrashPanel:
    """The trash, with the age and size of what is in it."""

    def __init__(self, session: FilesSession) -> None:
        self.session = session
        handler = session.handler
        self.told = Paragraph("", "muted")
        self.items = ActionList("Deleted files", handler(self._act))
        self.empty = Button(
            description="Empty the trash\nremoves it for good", classes=("easel-two-lines", "easel-stop")
        )
        self.empty.on_click(handler(lambda _: self._ask()))
        self.question = Paragraph("", "question", role="status")
        self.sure = Button(description="Remove it for good", classes=("easel-stop",))
        self.sure.on_click(handler(lambda _: self._empty()))
        self.keep = Button(description="Keep it")
        self.keep.on_click(handler(lambda _: self._clear()))
        self.asking = VBox(
            [self.question, Box([self.sure, self.keep], classes=("easel-row",))], classes=("easel-files-asks",)
        )
        self.widget = VBox(
            [Paragraph("Trash", "heading"), self.told, self.items, self.empty, self.asking],
            classes=("easel-card", "easel-files-trash"),
        )
        self._asked: tuple[str, ...] = ()

    def show(self) -> None:
        """Shows what is in it."""
        found = self.session.deleted
        total = sum(one.size_bytes for one in found)
        if self._asked and self._asked != tuple(one.id for one in found):
            self._asked = ()
        what = f"{len(found):,} {'thing' if len(found) == 1 else 'things'}, {size(total)}. They take space until the trash is emptied."
        self.told.show_text(
            what
            if found
            else "The trash is empty. What you delete comes here first. Deleted runs are under History in the trainer."
        )
        self.items.show_items(
            Item(
                one.id,
                one.name,
                f"was in {one.spot.parent.text}, deleted {age(one.deleted_s)}",
                size(one.size_bytes),
                acts=(
                    Act("restore", "Put back", f"Put {one.name} back"),
                    Act(
                        "remove",
                        "Remove",
                        f"Remove {one.name} for good",
                        question=f"Remove {one.name} for good? It cannot come back.",
                        sure="Remove it",
                    ),
                ),
            )
            for one in found[:MOST_LISTED]
        )
        show(self.empty, bool(found) and not self._asked)
        show(self.asking, bool(self._asked))

    def _act(self, told: tuple[str, str]) -> None:
        from trainer_core.keeping import trash

        one = next((each for each in self.session.deleted if each.id == told[0]), None)
        if one is None:
            return
        self.session.is_free()
        if told[1] == "restore":
            back = trash.restore(one)
            self.session.look()
            self.session.note(f"It is in {back.text} again.")
        else:
            self.session.do(f"Removing {one.name}.", lambda going: _removed((one,), going))

    def _ask(self) -> None:
        found = self.session.deleted
        self._asked = tuple(one.id for one in found)
        total = size(sum(one.size_bytes for one in found))
        self.question.show_text(f"Remove {len(found):,} for good, {total}? They cannot come back.")

    def _clear(self) -> None:
        self._asked = ()

    def _empty(self) -> None:
        wanted, self._asked = set(self._asked), ()
        found = tuple(one for one in self.session.deleted if one.id in wanted)
        self.session.do("Emptying the trash.", lambda going: _removed(found, going))


def _removed(found: tuple[Deleted, ...], going: Going) -> str:
    from trainer_core.keeping import trash

    del going
    return f"Removed {len(found):,} for good: {size(trash.empty(found))} are free again."
