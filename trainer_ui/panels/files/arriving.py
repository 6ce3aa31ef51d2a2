"""Files from the user's computer, those of which only a part has come, and what was recognised on arrival."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from trainer_ui.components.action_list import Act, ActionList, Item
from trainer_ui.components.arrivals import Arrivals, Said
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.files.bar import size
from trainer_ui.widgets import VBox

if TYPE_CHECKING:
    from trainer_core.keeping.receiving import Arrived, Receiver
    from trainer_ui.files_session import FilesSession


class Arriving:
    """The place to drop files."""

    def __init__(self, session: FilesSession) -> None:
        self.session = session
        self.drop = Arrivals(self._receiver, self._arrived, self._accept, session.show_soon)
        self.widget = VBox([self.drop], classes=("easel-card",))

    def show(self) -> None:
        """Shows where the files go."""
        target = self.session.target
        self.drop.target = " / ".join((target.root.title, *target.parts))
        self.drop.busy = bool(self.session.doing)

    def _receiver(self) -> Receiver:
        from trainer_core.keeping import bounds
        from trainer_core.keeping.receiving import Receiver

        self.session.is_free()
        target = self.session.target
        if target.parts:
            # A usual folder, such as loras, is made with its first file.
            bounds.make_folders(target)
            target.path.mkdir(exist_ok=True)
        return Receiver(target)

    def _arrived(self, one: Arrived, unpacks: bool) -> Said:
        """What is said of a file that is here; in the thread of the component."""
        from trainer_core.keeping import doubts, recognising, unpacking

        if unpacks and unpacking.is_zip(one.spot):
            made = unpacking.unpack(one.spot)
            one.spot.path.unlink()
            return Said(made.told, notes=made.notes)
        if problem := doubts.doubt(one.spot):
            return Said(problem, is_doubtful=True)
        found = recognising.recognise(one.spot)
        if found is None:
            return Said()
        belongs = found.belongs.text if found.belongs is not None else ""
        return Said(
            f"It is a model: {found.words}." + (f" Such models belong in {belongs}." if belongs else ""), belongs
        )

    def _accept(self, one: Arrived) -> str:
        """Moves a file to where it belongs, because the user wants that."""
        from trainer_core.keeping import bounds, moving, recognising

        found = recognising.recognise(one.spot)
        if found is None or found.belongs is None:
            return f"It is in {one.spot.text}."
        bounds.make_folders(found.belongs)
        found.belongs.path.mkdir(exist_ok=True)
        return f"It is in {moving.move([one.spot], found.belongs, keeps_both=True)[0].text} now."


class Unfinished:
    """Files of which only a part is here, from this or an earlier time."""

    def __init__(self, session: FilesSession) -> None:
        self.session = session
        self.items = ActionList("Unfinished files", session.handler(self._act))
        self.help = Paragraph(
            "Choose the same file again, with the same folder, and it goes on where it stopped.", "muted", "small"
        )
        self.widget = VBox(
            [Paragraph("Not complete yet", "heading"), self.help, self.items],
            classes=("easel-card", "easel-files-unfinished"),
        )

    def show(self) -> None:
        """Shows them."""
        from trainer_core.keeping import unfinished

        found = unfinished.listed()
        self.items.show_items(
            Item(
                one.key,
                one.spot.text,
                f"{size(one.have)} of {size(one.size_bytes)} are here, {age(one.changed_s)}",
                share=one.have / one.size_bytes if one.size_bytes else 1.0,
                acts=(
                    Act(
                        "discard",
                        "Discard",
                        f"Discard the part of {one.spot.text}",
                        question="Discard what is here of it?",
                        sure="Discard it",
                    ),
                ),
            )
            for one in found
        )
        show(self.widget, bool(found))

    def _act(self, told: tuple[str, str]) -> None:
        from trainer_core.keeping import unfinished

        unfinished.discard(told[0])
        self.session.look()


def age(then_s: float) -> str:
    """How long ago something was, such as "3 h ago"."""
    seconds = max(0.0, time.time() - then_s)
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {'day' if unit == 'days' and number == 1 else unit} ago"
    return "just now"
