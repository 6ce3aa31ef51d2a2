"""Everything that was changed in the dataset, each of which can be taken back."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from trainer_ui.components.action_list import Act, ActionList, Item
from trainer_ui.formatting import Paragraph, show
from trainer_ui.widgets import VBox

if TYPE_CHECKING:
    from trainer_ui.dataset_session import DatasetSession

MOST_SHOWN = 100


class EditsPanel:
    """The edits, newest first."""

    def __init__(self, session: DatasetSession) -> None:
        self.session = session
        self.list = ActionList("Edits", session.handler(lambda told: session.undo(int(told[0]))))
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
                acts=()
                if one.number in gone or one.undoes is not None
                else (Act("undo", "Undo", f"Undo: {one.title}", is_usable=not self.session.doing),),
            )
            for one in sorted(edits, key=lambda one: -one.number)[:MOST_SHOWN]
        )
        show(self.note, bool(edits))


def _when(time: float) -> str:
    return dt.datetime.fromtimestamp(time).astimezone().strftime("%Y-%m-%d %H:%M") if time else "at an unknown time"
