"""The trainings of a style: each with its state, its parameters, and a link to its LoRA that is made when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.text import printable
from trainer_ui.components.action_list import Act, ActionList, Item
from trainer_ui.components.copy_line import CopyLine
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph, show
from trainer_ui.widgets import Box, Button, Dropdown, Text, VBox

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_core.remote.styles import Version
    from trainer_ui.remote_desk import RemoteDesk

READING, LINKING = "versions", "link"
VALID_S = 3600
SIGNS = {"pending": "·", "training": "●", "completed": "✓", "failed": "!"}
PARAMETERS = {
    "network_dim": "dimension",
    "network_alpha": "alpha",
    "learning_rate": "learning rate",
    "max_train_steps": "steps",
    "class_tokens": "token",
}
LONGEST_LINK = 4000


class VersionsPanel:
    """A style, its versions newest first, and the link to the LoRA of one. Made when the place is first shown."""

    def __init__(self, desk: RemoteDesk, is_shown: Callable[[], bool]) -> None:
        self.desk, self.is_shown = desk, is_shown
        self.is_made = False
        self.widget = VBox(classes=("easel-remote-place",))
        self._styles: list[tuple[str, str]] = []
        self._versions: tuple[str, list[Version]] = ("", [])

    def _make(self) -> None:
        handler = self.desk.session.handler
        self.is_made = True
        self.place = Text(
            description="Where the styles are",
            placeholder="empty: the working folder if it has resources/style_images, else your bucket",
            continuous_update=False,
        )
        self.place.value = self.desk.kept.styles if self.desk.kept is not None else ""
        self.place.observe(handler(self._move), "value")
        self.style = Dropdown(description="Style", options=[("Not read yet", "")])
        self.style.observe(handler(lambda _: self._read()), "value")
        self.again = Button(description="Read again", classes=("easel-small",))
        self.again.on_click(handler(lambda _: self._read()))
        self.says = Paragraph("", "small", "muted", role="status")
        self.list = ActionList("Versions of the style", handler(self._link))
        self.link = CopyLine(label="Link to the LoRA")
        self.valid = Paragraph("", "small", "muted", role="status")
        # In a box: a component does not follow a change of its own classes.
        self.linked = Box([self.link], classes=("easel-remote-link",))
        fields = [
            helped(self.place, "A folder, or an address such as s3://bucket/app/."),
            helped(self.style, "The styles are those that have a folder there."),
        ]
        self.widget.children = (
            VBox(
                [
                    Paragraph("Training versions", "heading"),
                    Box(fields, classes=("easel-halves",)),
                    Box([self.again, self.says], classes=("easel-row",)),
                    self.list,
                    self.linked,
                    self.valid,
                ],
                classes=("easel-card", "easel-remote-list"),
            ),
        )
        self._read()

    def _move(self, where: str) -> None:
        from trainer_core.remote import kept_settings

        self.desk.kept = kept_settings.keep(styles=where)
        self._read()

    def _read(self) -> None:
        where, wanted = self.place.value.strip(), str(self.style.value or "")
        self.link.show_text("")

        def work() -> str:
            from trainer_core.remote import style_places

            place = style_places.opened(where)
            styles = place.styles.all()
            known = [one for one, _ in styles]
            style = wanted if wanted in known else known[0] if known else ""
            versions = place.styles.versions(style) if style else []
            with self.desk.session.lock:
                self._styles, self._versions = styles, (style, versions)
            if not styles:
                return f"There is no style in {place.address}."
            return "" if versions else "This style was not trained yet. Choose it under Prepare, “A style or an actor”."

        self.desk.ask(READING, "Reading the versions", work)

    def _link(self, pair: tuple[str, str]) -> None:
        """Makes a link to the LoRA of a version. What is kept is its address, never the link."""
        version = next((one for one in self._versions[1] if one.id == pair[0]), None)
        if version is None:
            return

        def work() -> str:
            from trainer_core.errors import RemoteError
            from trainer_core.remote import credentials, style_links

            found = style_links.link_of(version, credentials.settings(), VALID_S)
            if found.problem or len(found.link) > LONGEST_LINK:
                raise RemoteError(found.problem or "The link is too long to be shown.")
            with self.desk.session.lock:
                # Not cut, as `show_text` would: a part of a link leads nowhere.
                self.link.text = printable(found.link, LONGEST_LINK)
            return f"The link to {printable(version.name, 80)} is valid for an hour. Everybody who has it can download the LoRA."

        self.desk.ask(LINKING, "Making the link", work)

    def show(self) -> None:
        """Shows the versions of the style; makes the place when it is first shown."""
        if not self.is_shown():
            return
        if not self.is_made:
            if self.desk.session.unasked:
                return
            self._make()
        desk, (style, versions) = self.desk, self._versions
        wanted = [(f"{one} {title}".strip(), one) for one, title in self._styles] or [("There is none", "")]
        if tuple(wanted) != tuple(self.style.options):
            self.style.options = wanted
        if style and self.style.value != style and READING not in desk.doing:
            self.style.value = style
        doing = desk.doing.get(READING)
        self.says.show_text(*((f"{doing}…", "accent") if doing else desk.said.get(READING, ("", ""))))
        self.list.show_items(_item(one) for one in sorted(versions, key=lambda one: one.timestamp, reverse=True))
        doing = desk.doing.get(LINKING)
        self.valid.show_text(*((f"{doing}…", "accent") if doing else desk.said.get(LINKING, ("", ""))))
        show(self.linked, bool(self.link.text))


def _item(version: Version) -> Item:
    chosen = [f"{title} {version.parameters[name]}" for name, title in PARAMETERS.items() if name in version.parameters]
    images = f"{version.image_count:,} images" if version.image_count is not None else ""
    made = version.timestamp.replace("T", " ").removesuffix("Z")[:16]
    lines = [", ".join(filter(None, (made, images, *chosen))), version.lora_url]
    sign = SIGNS.get(version.status, "·")
    acts = (Act("link", "Make a link", f"Make a link to {version.name}"),) if version.lora_url else ()
    return Item(version.id, version.name, " · ".join(filter(None, lines)), f"{sign} {version.status}", acts=acts)
