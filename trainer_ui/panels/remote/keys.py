"""The keys: which was found where, never its value, and a masked field for one that is kept in the memory of this kernel only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.components.action_list import Act, ActionList, Item
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph, show
from trainer_ui.widgets import Box, Button, Password, VBox

if TYPE_CHECKING:
    from trainer_ui.remote_desk import RemoteDesk

NAMES = (
    "RUNPOD_API_KEY",
    "MODEL_TRAINING_RUNPOD_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "NGROK_AUTHTOKEN",
)
OPTIONAL = {
    "MODEL_TRAINING_RUNPOD_API_KEY": "only if training has a key of its own",
    "AWS_SESSION_TOKEN": "only for a temporary access key",
    "NGROK_AUTHTOKEN": "only for the tunnel",
}
THIS_SESSION = "this session"


class KeysCard:
    """A line for each key, and the field for the one that is being entered."""

    def __init__(self, desk: RemoteDesk) -> None:
        self.desk, handler = desk, desk.session.handler
        self.list = ActionList("Keys", handler(self._act))
        self.entering = ""
        """The name of the key that is being entered."""
        self.field = Password(description="Key", continuous_update=False)
        self.keep = Button(description="Keep it in memory", button_style="primary", classes=("easel-small",))
        self.keep.on_click(handler(lambda _: self._keep()))
        self.cancel = Button(description="Cancel", classes=("easel-small",))
        self.cancel.on_click(handler(lambda _: self._enter("")))
        line = helped(
            self.field,
            "It stays in the memory of this kernel, and is written to no file. A restart of the kernel forgets it.",
        )
        self.form = VBox([line, Box([self.keep, self.cancel], classes=("easel-row",))], classes=("easel-remote-form",))
        self.where = Paragraph("", "small", "muted")
        self.widget = VBox(
            [Paragraph("Keys", "heading"), self.where, self.list, self.form],
            classes=("easel-card", "easel-remote-list"),
        )

    def typed(self) -> dict[str, str]:
        """The key that is in its field and was not kept yet, by its name."""
        return {self.entering: self.field.value} if self.entering and self.field.value.strip() else {}

    def _act(self, pair: tuple[str, str]) -> None:
        from trainer_core.remote import credentials

        name, act = pair
        if act == "forget":
            credentials.forget(name)
            self.desk.session.note(f"{name} was forgotten.")
        else:
            self._enter(name)

    def _enter(self, name: str) -> None:
        self.entering = name
        self.field.value = ""
        # Shown first: what is hidden cannot get the keyboard.
        show(self.form, bool(name))
        if name:
            self.field.description = name
            self.field.focus()

    def _keep(self) -> None:
        from trainer_core.remote import credentials

        text, name = self.field.value, self.entering
        self.field.value = ""
        credentials.remember(name, text)
        self._enter("")
        self.desk.session.note(f"{name} is kept in the memory of this kernel.")

    def show(self) -> None:
        """Says which keys there are, and from where."""
        from pathlib import Path

        from trainer_core.remote import credentials

        values = credentials.settings()
        self.list.show_items(_item(name, values.source(name)) for name in NAMES)
        self.where.show_text(
            "Looked for in the environment, in the secrets of Colab and Kaggle, and in a file .env in the working folder, "
            f"{Path.cwd()}. Easel never shows a key."
        )
        show(self.form, bool(self.entering))


def _item(name: str, source: str | None) -> Item:
    from trainer_core.remote.credentials import KNOWN

    title = KNOWN[name].title.removeprefix("the ")
    said = f"found: {source}" if source else f"not set: {OPTIONAL.get(name, 'needed for RunPod')}"
    acts = [Act("enter", "Replace" if source else "Enter", f"Enter {title}")]
    if source == THIS_SESSION:
        acts.append(Act("forget", "Forget", f"Forget {title}"))
    return Item(name, title[0].upper() + title[1:], f"{name}, {said}", "✓" if source else "", acts=tuple(acts))
