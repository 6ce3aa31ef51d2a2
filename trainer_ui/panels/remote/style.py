"""A style or an actor with one of its selection sets, whose images are brought here and trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph
from trainer_ui.remote_desk import NO_STYLE
from trainer_ui.widgets import Box, Button, Dropdown, Text, VBox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer_core.remote.styles import SelectionSet
    from trainer_ui.remote_desk import RemoteDesk

LISTING, BRINGING = "styles", "style-images"


class StyleChoice:
    """The place of the styles, the style, its selection set, and the button that brings its images."""

    def __init__(self, desk: RemoteDesk) -> None:
        self.desk, handler = desk, desk.session.handler
        self.place = Text(
            description="Where the styles are",
            placeholder="empty: the working folder if it has resources/style_images, else your bucket",
            continuous_update=False,
        )
        self.place.observe(handler(self._move), "value")
        self.read = Button(description="Read the styles", classes=("easel-small",))
        self.read.on_click(handler(lambda _: self._read()))
        self.kind = Dropdown(
            description="What it is", options=[("A style", "custom-styles"), ("An actor", "custom-actors")]
        )
        self.style = Dropdown(description="Name", options=[("Not read yet", "")])
        self.style.observe(handler(lambda _: None), "value")
        self.set = Dropdown(description="Selection set", options=[("Choose a style first", 0)])
        self.set.observe(handler(lambda _: None), "value")
        self.version = Text(description="Name of the version", placeholder="such as v1.0", continuous_update=False)
        self.preset = Dropdown(
            description="Recommended by",
            options=[("LoRA Training Module", ""), ("LoRA Training System: 40 steps per image", "style-002")],
        )
        self.take = Button(
            description="Use these images\nbrings them here from the bucket", classes=("easel-two-lines",)
        )
        self.take.on_click(handler(lambda _: self._take()))
        self.says = Paragraph("", "small", "muted", role="status")
        where = helped(self.place, "A folder, or an address such as s3://bucket/app/.")
        self.widget = VBox(
            [
                Box([where, self.read], classes=("easel-remote-line",)),
                Box(
                    [
                        helped(self.kind, "A style or an actor. It decides which policy computes steps and rate."),
                        helped(self.style, "The style whose trainings are kept together."),
                        helped(self.set, "The images that are trained."),
                        helped(self.preset, "The document whose steps and rate for this number of images are used."),
                        helped(
                            self.version,
                            "The name of this training among those of the style. A training on RunPod is listed under Versions.",
                        ),
                    ],
                    classes=("easel-remote-fields",),
                ),
                Box([self.take, self.says], classes=("easel-row",)),
            ],
            classes=("easel-remote-form",),
        )
        self._styles: dict[str, tuple[str, list[SelectionSet]]] = {}

    def open(self) -> None:
        """Reads the styles when this is first shown."""
        if self.desk.kept is not None:
            # Another place than the field shows is read because it changes.
            self.place.value = self.desk.kept.styles
        if not self._styles and LISTING not in self.desk.doing:
            self._read()

    def _move(self, where: str) -> None:
        from trainer_core.remote import kept_settings

        self.desk.kept = kept_settings.keep(styles=where)
        self._read()

    def _read(self) -> None:
        where = self.place.value.strip()

        def work() -> str:
            from trainer_core.remote import style_places

            place = style_places.opened(where)
            found = {one: (title, place.styles.sets(one)) for one, title in place.styles.all()}
            with self.desk.session.lock:
                self._styles = found
            many = "1 style" if len(found) == 1 else f"{len(found):,} styles"
            return f"{many} in {place.address}." if found else f"There is no style in {place.address}."

        self.desk.ask(LISTING, "Reading the styles", work)

    def _take(self) -> None:
        """Brings the images in a thread, and prepares their training as the documents have it."""
        style, number, version = str(self.style.value or ""), self.set.value, self.version.value.strip()
        if not style or not number or not version:
            self.desk.session.note("Choose a style and one of its selection sets, and name the version.")
            return
        kind, preset, where = str(self.kind.value), str(self.preset.value), self.place.value.strip()

        def work() -> str:
            from trainer_core.remote import credentials
            from trainer_core.remote.runpod import style_training

            asked = style_training.Asked(style, str(number), version, kind, preset)
            prepared = style_training.prepare(asked, credentials.settings(), where)
            with self.desk.session.lock:
                if self.desk.lacks != NO_STYLE:
                    return "The images are here, but something else was chosen under “What to train” meanwhile."
                self.desk.use_style(prepared)
            return f"{prepared.images.images:,} images are here. {prepared.reason}"

        # Until the images are here there is nothing to start: neither an earlier style nor what was prepared before it.
        self.desk.style, self.desk.lacks = None, NO_STYLE
        self.desk.ask(BRINGING, "Bringing the images from the bucket", work)

    def show(self) -> None:
        """Offers the styles that were read, and the sets of the chosen one."""
        styles = [(f"{one} {title}".strip(), one) for one, (title, _) in self._styles.items()]
        _offer(self.style, styles or [("Not read yet", "")])
        sets = self._styles.get(str(self.style.value or ""), ("", []))[1]
        _offer(
            self.set, [(f"{one.name}, {len(one.images):,} images", one.id) for one in sets] or [("There is none", 0)]
        )
        doing = self.desk.doing.get(BRINGING) or self.desk.doing.get(LISTING)
        said = self.desk.said.get(BRINGING) or self.desk.said.get(LISTING) or ("", "")
        self.says.show_text(*((f"{doing}…", "accent") if doing else said))


def _offer(choice: Dropdown, options: Sequence[tuple[str, object]]) -> None:
    """Sets the options of a dropdown, and keeps the chosen one if it is still there."""
    if tuple(options) != tuple(choice.options):
        value = choice.value
        choice.options = options
        if value in [each for _, each in options]:
            choice.value = value
