"""Everything that was changed in the dataset, each of which can be taken back."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from trainer_ui.components.action_list import Act, ActionList, Item
from trainer_ui.formatting import Paragraph, show
from trainer_ui.widgets import VBox

if TYPE_CHECKING:
    from trainer_core.curation.records import Edit
    from trainer_ui.dataset_session import DatasetSession, Read

MOST_SHOWN = 100


class EditsPanel:
    """The edits, newest first."""

    def __init__(self, session: DatasetSession) -> None:
        self.session = session
        self.list = ActionList("Edits", session.handler(self._act))
        self.none = Paragraph("", "muted")
        self.note = Paragraph(
            "An edit that is taken back restores its files byte by byte. A file that was changed since then stays as it is, and is named.",
            "small",
            "muted",
        )
        self.widget = VBox(
            [Paragraph("Edits", "heading"), self.note, self.none, self.list], classes=("easel-card", "easel-edits")
        )

    def show(self) -> None:
        """Shows the edits."""
        from trainer_core.curation import records

        read = self.session.read
        edits = read.edits if read is not None else ()
        gone = records.taken_back(edits)
        self.none.show_text(
            "" if edits else "Nothing was changed yet." if self.session.root else "No dataset is open yet."
        )
        self.list.show_items(
            Item(
                str(one.number),
                one.title,
                " ".join(
                    filter(
                        None,
                        (
                            f"{_when(one.time)},",
                            f"{one.files:,} {'file' if one.files == 1 else 'files'}",
                            f"by {one.author}" if one.author not in ("", "user") else "",
                            "(taken back)" if one.number in gone else "",
                        ),
                    )
                ),
                acts=() if one.number in gone or one.undoes is not None else self._acts(one, read),
            )
            for one in sorted(edits, key=lambda one: -one.number)[:MOST_SHOWN]
        )
        show(self.note, bool(edits))

    def _acts(self, edit: Edit, read: Read | None) -> tuple[Act, ...]:
        is_free = not self.session.doing
        undo = Act("undo", "Undo", f"Undo: {edit.title}", is_usable=is_free)
        if read is None or edit.number not in read.originals:
            return (undo,)
        words = "Bring the originals back"
        return Act(
            "originals", words, f"{words} of the images that were converted: {edit.title}", is_usable=is_free
        ), undo

    def _act(self, told: tuple[str, str]) -> None:
        number, act = int(told[0]), told[1]
        if act == "originals":
            self.session.bring_back(number)
        else:
            self.session.undo(number)


def _when(time: float) -> str:
    return dt.datetime.fromtimestamp(time).astimezone().strftime("%Y-%m-%d %H:%M") if time else "at an unknown time"
