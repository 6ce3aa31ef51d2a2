"""The machines that ssh reaches: their names, what each has, and the installation of Easel on one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.browse import Browse
from trainer_ui.components.action_list import Act, ActionList, Item
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph
from trainer_ui.panels.card import fold
from trainer_ui.remote_desk import machine_of
from trainer_ui.widgets import Box, Button, Checkbox, Text, VBox

if TYPE_CHECKING:
    from trainer_core.remote.machines.book import Entry
    from trainer_ui.remote_desk import RemoteDesk


class MachinesCard:
    """The list with Check, Install and Remove, and a form for a new one."""

    def __init__(self, desk: RemoteDesk) -> None:
        self.desk, handler = desk, desk.session.handler
        self.list = ActionList("Machines", handler(self._act))
        self.none = Paragraph("No machine has a name yet.", "small", "muted")
        self.name = Text(description="Name of the machine", placeholder="such as gpu-box", continuous_update=False)
        self.address = Text(description="Address", placeholder="user@host or user@host:port", continuous_update=False)
        self.identity = Text(
            description="Private key", placeholder="empty: the key that ssh uses", continuous_update=False
        )
        self.easel = Text(description="Folder of Easel there", value="easel", continuous_update=False)
        self.may_install = Checkbox(
            description="Install what is missing there when a run needs it", value=False, indent=False
        )
        self.add = Button(description="Add the machine", button_style="primary")
        self.add.on_click(handler(lambda _: self._add()))
        # Beside the button: on a narrow page the list and the bar are out of sight.
        self.says = Paragraph("", "small", "grow", role="status")
        self._added, self._refused = "", ""
        """The machine that was added last, and why the last one was not added."""
        self.adding = fold(desk.session, "Add a machine", self._form)
        self.adding.children[0].value = False
        self.widget = VBox(
            [Paragraph("Machines that ssh reaches", "heading"), self.none, self.list, self.adding],
            classes=("easel-card", "easel-remote-list"),
        )

    def _form(self) -> list[VBox]:
        browse = Browse(self.desk.session, "Private key", self._choose_key, lambda: self.identity.value)
        return [
            VBox(
                [
                    Box(
                        [
                            helped(self.name, "The name that you choose for it."),
                            helped(self.address, "As for ssh, or a name of your ssh configuration."),
                            helped(self.easel, "Below the home folder there, or an absolute path."),
                        ],
                        classes=("easel-remote-fields",),
                    ),
                    Box(
                        [helped(self.identity, "The path of a key file. Only the path is kept."), browse.widget],
                        classes=("easel-remote-file",),
                    ),
                    self.may_install,
                    Box([self.add, self.says], classes=("easel-row", "easel-remote-add")),
                ],
                classes=("easel-remote-form",),
            )
        ]

    def _choose_key(self, path: str) -> None:
        self.identity.value = path

    def _add(self) -> None:
        from trainer_core.errors import EaselError
        from trainer_core.jobs.hosts.machine import EASEL
        from trainer_core.remote.machines import book

        self._added = self._refused = ""
        name, identity = self.name.value.strip(), self.identity.value.strip()
        easel = self.easel.value.strip() or EASEL
        if lacking := next((field for field in (self.name, self.address) if not field.value.strip()), None):
            self._refused = (
                "Give the machine a name." if lacking is self.name else "Enter its address, such as me@gpu-box."
            )
            lacking.focus()
            return
        entry = book.Entry(name, self.address.value.strip(), easel, identity, may_install=self.may_install.value)
        try:
            book.keep(entry)
        except EaselError as error:
            self._refused = str(error)
            return
        self._added = name
        for field in (self.name, self.address, self.identity):
            field.value = ""
        self.desk.look()
        self._check(book.find(name))
        self.name.focus()

    def _act(self, pair: tuple[str, str]) -> None:
        from trainer_core.remote.machines import book

        name, act = pair
        if act == "remove":
            book.forget(name)
            self.desk.look()
            self.desk.session.note(f"{name} was removed from the list. Nothing was changed on the machine.")
        elif act == "check":
            self._check(book.find(name))
        else:
            self._install(book.find(name))

    def _check(self, entry: Entry) -> None:
        def work() -> str:
            from trainer_core.remote.machines import check

            return check.check(entry.machine).sentence

        self.desk.ask(machine_of(entry.name), "Asking what it has", work)

    def _install(self, entry: Entry) -> None:
        key = machine_of(entry.name)

        def work() -> str:
            from trainer_core.remote.machines import installing

            found = installing.install(entry.machine, lambda said: self.desk.tell(key, said.rstrip(".")))
            return f"Easel {found.version} is ready there."

        self.desk.ask(key, "Installing Easel there", work)

    def show(self) -> None:
        """Shows the machines, and what each said last."""
        from trainer_core.remote.machines import book

        known = book.read()
        self.none.show_text("" if known else "No machine has a name yet.")
        self.list.show_items(self._item(entry) for entry in known.values())
        self._show_added()

    def _show_added(self) -> None:
        if self._refused:
            self.says.show_text(self._refused, "danger")
            return
        key = machine_of(self._added)
        doing, (said, tone) = self.desk.doing.get(key), self.desk.said.get(key, ("", ""))
        what = f"{doing}…" if doing else said
        self.says.show_text(f"{self._added} was added. {what}" if self._added else "", "accent" if doing else tone)

    def _item(self, entry: Entry) -> Item:
        key = machine_of(entry.name)
        doing, said = self.desk.doing.get(key), self.desk.said.get(key, ("", ""))
        text = f"{doing}…" if doing else said[0]
        acts = (
            Act("check", "Check", f"Check what {entry.name} has", doing is None),
            Act(
                "install",
                "Install Easel",
                f"Install Easel on {entry.name}",
                doing is None,
                f"Easel is copied to {entry.easel} on {entry.address}, and its installer runs there.",
                "Install it",
            ),
            Act(
                "remove",
                "Remove",
                f"Remove {entry.name}",
                doing is None,
                f"Remove {entry.name} from this list?",
                "Remove it",
            ),
        )
        return Item(entry.name, entry.name, f"{entry.address}. {text}" if text else entry.address, acts=acts)
