"""The RunPod endpoint and its bucket: settings that are no secrets, kept in a file, and a test of the connection."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from trainer_ui.components.action_list import ActionList, Item
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph
from trainer_ui.widgets import Box, Button, Text, VBox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainer_core.remote.checking import Line
    from trainer_ui.remote_desk import RemoteDesk

CHECKING = "check"
FIELDS = {
    "MODEL_TRAINING_RUNPOD_ENDPOINT_ID": (
        "RunPod endpoint",
        "such as abc123def456",
        "The id of the serverless endpoint that trains. RunPod's console shows it.",
    ),
    "S3_USER_BUCKET": (
        "Bucket",
        "such as my-bucket",
        "The bucket through which the worker gets images and returns the LoRA.",
    ),
    "S3_REGION": ("Region of the bucket", "such as us-west-1", "Empty for the region of the address."),
    "S3_ENDPOINT_URL": (
        "Storage service",
        "empty for AWS",
        "The address of a service other than AWS, such as Cloudflare R2 or RunPod's own storage.",
    ),
    "GATEWAY_BASE_URL": (
        "Public address",
        "empty without one",
        "An address that receives webhooks, if you have one. Without it Easel asks RunPod by itself.",
    ),
}
WEBHOOK = "webhook"
TITLES = {"endpoint": "Answer of the endpoint", "bucket": "Access to the bucket"}
"""What is tested of a thing whose setting has a line, too."""
SIGNS = {"ok": "✓", "wrong": "!", "not used": "·", "not tested": "·"}


class EndpointCard:
    """The settings, each kept when it is entered, and the test with a line for each thing that must work."""

    def __init__(self, desk: RemoteDesk, typed_keys: Callable[[], Mapping[str, str]]) -> None:
        """`typed_keys` gives the key that is in its field and was not kept yet."""
        self.desk, self._typed_keys, handler = desk, typed_keys, desk.session.handler
        self.fields = {}
        self.notes = {}
        rows = []
        for name, (title, example, what) in FIELDS.items():
            field = Text(description=title, placeholder=example, continuous_update=False)
            field.observe(handler(partial(self._keep, name)), "value")
            note = Paragraph("", "small", "muted")
            self.fields[name], self.notes[name] = field, note
            rows.append(VBox([helped(field, what), note], classes=("easel-remote-field",)))
        self.gpu = Text(description="GPU of the endpoint", placeholder="such as RTX 4090", continuous_update=False)
        self.gpu.observe(handler(self._keep_gpu), "value")
        rows.append(
            helped(
                self.gpu, "Time and cost are estimated for it. RunPod's time limit of a training follows from it, too."
            )
        )
        self.test = Button(
            description="Test the connection\nwrites, reads and deletes a small file, starts nothing",
            classes=("easel-two-lines",),
        )
        self.test.on_click(handler(lambda _: self._test()))
        self.says = Paragraph("", "small", role="status")
        self.list = ActionList("What was tested", handler(lambda _: None))
        self.lines: tuple[Line, ...] = ()
        """What was tested."""
        self.widget = VBox(
            [
                Paragraph("RunPod and its bucket", "heading"),
                Box(rows, classes=("easel-remote-fields",)),
                Box([self.test], classes=("easel-row",)),
                self.says,
                self.list,
            ],
            classes=("easel-card", "easel-remote-list"),
        )

    def _keep(self, name: str, value: str) -> None:
        from trainer_core.remote import kept_settings

        self.desk.kept = kept_settings.keep_setting(name, _plain(name, value))
        self.desk.look()

    def _keep_gpu(self, value: str) -> None:
        from trainer_core.remote import kept_settings

        self.desk.kept = kept_settings.keep(gpu=value)

    def _test(self) -> None:
        """Tests what the fields show, one thing after the other, and shows each line as soon as it is known. Nothing is kept."""
        shown = {name: _plain(name, field.value) for name, field in self.fields.items()}
        entered = {name: text for name, text in {**shown, **self._typed_keys()}.items() if text}

        def work() -> str:
            from trainer_core.remote import checking, credentials

            with self.desk.session.lock:
                self.lines = ()
            for line in checking.lines(checking.Wanted(), credentials.settings(entered=entered)):
                with self.desk.session.lock:
                    self.lines = (*self.lines, line)
                self.desk.session.show_unasked()
            wrong = sum(line.state == "wrong" for line in self.lines)
            if not wrong:
                return "Everything that a training on RunPod needs can be used."
            if wrong == 1:
                return "One thing does not work yet. Its line says what to do."
            return f"{wrong} things do not work yet. Their lines say what to do."

        self.desk.ask(CHECKING, "Testing the connection", work)

    def show(self) -> None:
        """Shows what is kept, what another source sets, and what was tested."""
        from trainer_core.remote import credentials, kept_settings

        desk, values = self.desk, credentials.settings()
        kept = desk.kept.settings if desk.kept is not None else {}
        if self.gpu.value != (gpu := desk.kept.gpu if desk.kept is not None else ""):
            self.gpu.value = gpu
        for name, field in self.fields.items():
            wanted = kept.get(name, "")
            if field.value != wanted:
                field.value = wanted
            source = values.source(name)
            other = source if source and not source.endswith(str(kept_settings.path())) else ""
            self.notes[name].show_text(f"Set by {other}, which counts more." if other else "")
        doing = desk.doing.get(CHECKING)
        # Not disabled meanwhile: a button that is disabled loses the keyboard.
        (self.test.add_class if doing else self.test.remove_class)("easel-busy")
        self.says.show_text(*((f"{doing}…", "accent") if doing else desk.said.get(CHECKING, ("", ""))))
        self.list.show_items(
            _item(number, line)
            for number, line in enumerate(self.lines)
            if line.state != "not used" or line.what == WEBHOOK
        )


def _item(number: int, line: Line) -> Item:
    """A line, in the words of this page: a setting by its title, with the card in which it is entered."""
    from trainer_core.remote import credentials

    name = line.what.rpartition(" or ")[2]
    is_setting = name in credentials.KNOWN
    title = credentials.titled(name).removeprefix("The ") if is_setting else TITLES.get(line.what, line.what)
    advice = line.advice
    if is_setting and line.state == "wrong":
        advice = "Enter it above." if name in FIELDS else "Enter it under “Keys”."
    aside = f"{SIGNS[line.state]} {line.state}"
    return Item(str(number), title[0].upper() + title[1:], f"{line.said} {advice}".strip(), aside)


def _plain(name: str, value: str) -> str:
    """What a field means: the bucket may be written as an address."""
    text = value.strip()
    return text.removeprefix("s3://").rstrip("/") if name == "S3_USER_BUCKET" else text
