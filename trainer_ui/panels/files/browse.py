"""The files that are here: roots, the table of a folder, and what can be done with those that are chosen."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from trainer_core.errors import FilesError
from trainer_ui.components.files_table import Asked, FilesTable, Row
from trainer_ui.formatting import Paragraph
from trainer_ui.widgets import Box, Button, Dropdown, Text, VBox

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_core.keeping.bounds import Spot
    from trainer_core.keeping.carrying import Going
    from trainer_ui.components.saver import Offer
    from trainer_ui.files_session import FilesSession


class FilesPanel:
    """The folder that is shown."""

    def __init__(self, session: FilesSession, delete: Callable[[], object]) -> None:
        self.session, self._delete = session, delete
        handler = session.handler
        self.root = Dropdown(description="Folder", options=[("Models", "models")])
        self.root.observe(handler(self._take_root), "value")
        self.table = FilesTable(handler(self._heard))
        self.name = Text(description="New folder here", placeholder="a name", continuous_update=False)
        self.make = Button(description="Make it", classes=("easel-small",))
        self.make.on_click(handler(lambda _: self._make()))
        self.about = Paragraph("", "muted", "small")
        self.naming = Box([self.name, self.make], classes=("easel-row", "easel-enters", "easel-files-new"))
        self.widget = VBox(
            [Box([self.root, self.naming], classes=("easel-files-line",)), self.about, self.table],
            classes=("easel-card", "easel-files-card"),
        )

    def show(self) -> None:
        """Shows the folder."""
        from trainer_core.keeping import bounds

        session = self.session
        options = [(each.title, each.id) for each in bounds.roots()]
        if list(self.root.options) != options:
            self.root.options = options
        root = session.folder.root
        if self.root.value != root.id and root.id in {each for _, each in options}:
            self.root.value = root.id
        self.about.show_text(f"{root.about} {root.path}")
        can_change = not root.is_managed and not root.is_fixed
        found = session.listing
        rows = [
            Row(one.name, one.kind, one.size_bytes, one.modified_s, one.is_folder, one.link)
            for one in (found.entries if found is not None else ())
        ]
        left = f"{found.left_out:,} more cannot be shown" if found is not None and found.left_out else ""
        path = [root.title, *session.folder.parts]
        self.table.show_rows(session.version, path, rows, left, can_change=can_change)
        for one in (self.name, self.make):
            one.disabled = not can_change

    def _take_root(self, name: str) -> None:
        from trainer_core.keeping import bounds

        self.session.open(bounds.spot(name))

    def _make(self) -> None:
        from trainer_core.keeping import moving

        made = moving.new_folder(self.session.folder, self.name.value)
        self.name.value = ""
        self.session.look()
        self.session.note(f"Made the folder {made.text}.")

    def _heard(self, asked: Asked) -> None:
        session = self.session
        if asked.what == "go":
            parts = session.folder.parts
            session.open(type(session.folder)(session.folder.root, parts[: asked.depth]))
        elif asked.what == "choose":
            session.choose(asked.names)
        elif asked.what == "delete":
            session.choose(asked.names)
            self._delete()
        elif len(asked.names) == 1:
            spot = session.folder.child(asked.names[0])
            if asked.what == "open":
                session.open(spot)
            else:
                self._rename(spot.name, asked.text)

    def _rename(self, name: str, text: str) -> None:
        from trainer_core.keeping import moving

        self.session.is_free()
        try:
            renamed = moving.rename(self.session.folder.child(name), text)
        except FilesError:
            # The page shows the old name again.
            self.session.version += 1
            raise
        self.session.look()
        self.session.choose((renamed.name,))
        self.table.show_chosen((renamed.name,))
        self.session.note(f"Renamed {name} to {renamed.name}.")


class ChosenPanel:
    """What is chosen, and what can be done with it."""

    def __init__(self, session: FilesSession) -> None:
        from trainer_ui.components.saver import Saver

        self.session = session
        handler = session.handler
        self.heading = Paragraph("", "heading")
        self.facts, self.uses = Paragraph("", "muted", "small"), Paragraph("", "warn", "small")
        self.notes = Paragraph("", "muted", "small", "lines")
        self.saver = Saver(self._offer)
        self.unpack = Button(description="Unpack\ninto a folder beside it; the zip stays", classes=("easel-two-lines",))
        self.unpack.on_click(handler(lambda _: self._unpack()))
        self.zip = Button(description="Zip it here\nas one file in this folder", classes=("easel-two-lines",))
        self.zip.on_click(handler(lambda _: self._zip()))
        self.target = Dropdown(description="Move to", options=[("", "")])
        self.move = Button(description="Move", classes=("easel-small",))
        self.move.on_click(handler(lambda _: self._move()))
        self.question = Paragraph("", "question", role="status")
        self.delete = Button(
            description="Delete\nto the trash, from which it can come back", classes=("easel-two-lines", "easel-stop")
        )
        self.delete.on_click(handler(lambda _: self.ask()))
        self.sure = Button(description="Move to the trash", classes=("easel-stop",))
        self.sure.on_click(handler(lambda _: self._delete()))
        self.keep = Button(description="Keep")
        self.keep.on_click(handler(lambda _: self._clear()))
        self.asking = VBox(
            [self.question, Box([self.sure, self.keep], classes=("easel-row",))], classes=("easel-files-asks",)
        )
        self.moving = Box([self.target, self.move], classes=("easel-row", "easel-files-move"))
        self.actions = VBox(
            [self.saver, self.unpack, self.zip, self.moving, self.delete], classes=("easel-files-acts",)
        )
        self.widget = VBox(
            [self.heading, self.facts, self.uses, self.notes, self.asking, self.actions],
            classes=("easel-card", "easel-files-chosen"),
        )
        self._asked: tuple[str, ...] = ()
        self._unpacked: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        """What was chosen when it was unpacked, and what was left out of it."""

    # ---- what is shown ----
    def show(self) -> None:
        """Shows what is chosen."""
        from trainer_core.keeping import listing
        from trainer_ui.formatting import show
        from trainer_ui.panels.files.bar import size

        session = self.session
        names = session.chosen
        if self._asked != names:
            self._asked = ()
        self.heading.show_text(
            names[0] if len(names) == 1 else f"{len(names):,} chosen" if names else "Nothing is chosen"
        )
        known = session.size
        counted = (
            "Counting…"
            if known is None
            else f"{'More than ' if known.is_partial else ''}{size(known.size_bytes)}, {known.files:,} {'file' if known.files == 1 else 'files'}."
        )
        self.facts.show_text(
            f"{counted} {session.what}".strip()
            if names
            else "Choose files or folders in the list, to download, move, rename or delete them."
        )
        self.uses.show_text(session.uses)
        of, notes = self._unpacked
        self.notes.show_text("\n".join(notes) if of == names else "")
        root = session.folder.root
        can_change = not root.is_managed and not root.is_fixed
        show(self.actions, bool(names) and not self._asked)
        show(self.asking, bool(self._asked))
        one_file = len(names) == 1 and not (session.folder.path / names[0]).is_dir()
        show(self.unpack, one_file and names[0].casefold().endswith(".zip") and can_change)
        show(self.zip, bool(names) and not one_file and can_change)
        show(self.moving, can_change)
        show(self.delete, can_change or (root.is_managed and not session.folder.parts))
        self._show_saver(listing.kind_of(names[0]) if one_file else "")
        self._show_targets()

    def _show_saver(self, kind: str) -> None:
        names, known = self.session.chosen, self.session.size
        self.saver.words = "Download"
        self.saver.more = (
            "the file, to your computer" if kind else "as one zip, made while it is sent: it takes no space here"
        )
        if names:
            self.saver.suggested = (
                names[0] if kind else f"{names[0] if len(names) == 1 else self.session.folder.path.name}.zip"
            )
        self.saver.size = known.size_bytes if known is not None else 0

    def _show_targets(self) -> None:
        from trainer_core.keeping import bounds, listing
        from trainer_core.keeping.bounds import Spot

        if self.session.version == getattr(self, "_shown", None):
            return
        self._shown = self.session.version
        found: list[str] = []
        for root in bounds.roots():
            if root.is_managed or root.is_fixed:
                continue
            found.append(root.id)
            try:
                inner = [
                    one.name for one in listing.look(Spot(root)).entries if one.is_folder and one.link != "outside"
                ][:100]
            except FilesError:
                inner = []
            found += [f"{root.id}/{name}" for name in inner]
        here = self.session.folder
        if here.parts and not here.root.is_managed:
            found += [one for one in (here.parent.text,) if one not in found]
        options = [("Choose a folder", ""), *((text, text) for text in found if text != here.text)]
        if list(self.target.options) != options:
            self.target.options = options
            self.target.value = ""

    # ---- what the user does ----
    def ask(self) -> None:
        """Asks before what is chosen goes to the trash."""
        from trainer_core.keeping import uses

        names = self.session.chosen
        if not names:
            return
        self.session.is_free()
        told = uses.told(uses.check(*self.session.spots))
        what = names[0] if len(names) == 1 else f"these {len(names):,}"
        self._asked = names
        self.question.show_text(
            f"Move {what} to the trash? It can be put back until the trash is emptied. {told}".strip()
        )

    def _clear(self) -> None:
        self._asked = ()

    def _delete(self) -> None:
        spots, names = self.session.spots, self._asked
        self._asked = ()
        if names:
            self.session.do("Deleting.", lambda going: _deleted(spots, going))

    def _move(self) -> None:
        from trainer_core.keeping import bounds, moving

        if not self.target.value:
            raise FilesError("No folder is chosen.", "Choose under “Move to” where it goes.")
        spots, where = self.session.spots, bounds.named(self.target.value)

        def work(going: Going) -> str:
            moved = moving.move(spots, where, going)
            return f"Moved {moved[0].name if len(moved) == 1 else f'{len(moved):,}'} to {where.text}."

        self.session.do(f"Moving to {where.text}.", work)

    def _unpack(self) -> None:
        from trainer_core.keeping import unpacking

        spot, names = self.session.spots[0], self.session.chosen

        def work(going: Going) -> str:
            made = unpacking.unpack(spot, going)
            with self.session.lock:
                self._unpacked = (names, made.notes)
            return f"{made.told} {'The list is beside the files.' if made.notes else ''}".strip()

        self.session.do(f"Unpacking {spot.name}.", work)

    def _zip(self) -> None:
        from trainer_core.keeping import zipping

        spots, where = self.session.spots, self.session.folder

        def work(going: Going) -> str:
            what = zipping.plan(spots)
            made = zipping.write(what, where, going)
            left = f" {what.left_out:,} links were left out." if what.left_out else ""
            return f"Made {made.text}.{left}"

        self.session.do("Making a zip.", work)

    def _offer(self) -> Offer:
        from trainer_core.keeping import bounds, zipping
        from trainer_ui.components.saver import Offer, file_blocks

        spots = self.session.spots
        if not spots:
            raise FilesError("Nothing is chosen.", "Choose a file or a folder.")
        path = bounds.entered(spots[0])
        if len(spots) == 1 and path.is_file():
            return Offer(spots[0].name, path.stat().st_size, partial(file_blocks, path), path)
        what = zipping.plan(spots)
        return Offer(what.name, what.size_bytes, partial(zipping.stream, what))


def _deleted(spots: tuple[Spot, ...], going: Going) -> str:
    from trainer_core.keeping import trash

    del going
    for spot in spots:
        trash.delete(spot)
    what = spots[0].name if len(spots) == 1 else f"{len(spots):,}"
    where = (
        "the trash of the runs: History of the trainer puts them back"
        if spots[0].root.is_managed
        else "the trash: the tab Trash puts it back"
    )
    return f"Moved {what} to {where}."
