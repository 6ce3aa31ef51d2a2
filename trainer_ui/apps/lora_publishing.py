"""The places of the LoRA app for what a file says of itself: its metadata, and the upload with a card."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from trainer_core.errors import EaselError
from trainer_ui.apps.lora_fields import ONE
from trainer_ui.panels.tools.metadata_view import LONGEST, now
from trainer_ui.tool_fields import Card, Choice, File, Switch, Words
from trainer_ui.tool_session import Utility

if TYPE_CHECKING:
    from trainer_ui.tool_session import Module, Values

PAGE = "lora-tools"
UNDO = "undo"
KEYS = {
    "modelspec.title": ("Title", ""),
    "modelspec.author": ("Author", ""),
    "modelspec.description": ("Description", ""),
    "modelspec.trigger_phrase": ("Trigger words", "What a prompt must contain."),
    "modelspec.usage_hint": ("How to use it", ""),
    "modelspec.tags": ("Tags", "With commas between them."),
    "modelspec.license": ("Licence", ""),
}
"""The metadata that people edit. Source: ModelSpec 1.0.1."""


def _metadata(module: Module, values: Values) -> Any:
    if values["what"] == UNDO:
        from trainer_core.tools import lora_metadata

        return module.Settings(file=values["file"], undo=lora_metadata.undo_of(values["file"]))
    return module.Settings(
        file=values["file"],
        values={key: values[key] for key in KEYS if values[key]},
        remove=tuple(filter(None, (each.strip() for each in values["remove"].split(",")))),
        thumbnail=values["thumbnail"],
        scrub=values["scrub"],
        target="" if values["in_place"] else values["target"],
        in_place=values["in_place"],
    )


def _read_metadata(module: Module, values: Values) -> Any:
    """Every key of the file, and what becomes of it; None while no file is chosen."""
    if not values["file"]:
        return None
    from trainer_core.tools import lora_metadata

    try:
        settings = _metadata(module, values)
    except EaselError:
        settings = module.Settings(file=values["file"])
    return lora_metadata.listing(settings, LONGEST)


def _is_edit(values: Values) -> bool:
    return values["what"] != UNDO


METADATA = Utility(
    id="metadata",
    title="Metadata",
    verb="Write",
    about="Changes what a file says about itself. Its weights are copied byte for byte.",
    module="trainer_core.tools.lora_metadata",
    made=_metadata,
    kinds=("lora-metadata",),
    guide=(PAGE, "metadata"),
    reads=_read_metadata,
    takes="file",
    cards=(
        Card(
            "File",
            (
                ONE,
                Choice(
                    name="what",
                    title="What to do",
                    default="edit",
                    options=(("Change what it says", "edit"), ("Take back the last edit in this file", UNDO)),
                    told={UNDO: "The file gets the metadata that it had before it was last edited in place."},
                ),
            ),
        ),
        Card(
            "What to change",
            (
                *(
                    Words(
                        name=key,
                        title=title,
                        help=more,
                        placeholder="empty: as it is",
                        now=partial(now, key),
                        when=_is_edit,
                    )
                    for key, (title, more) in KEYS.items()
                ),
                File(
                    name="thumbnail",
                    title="Image of it",
                    wants="file",
                    extensions=(".png", ".jpg", ".jpeg", ".webp"),
                    help="It is made small.",
                    is_input=False,
                    when=_is_edit,
                ),
                Words(
                    name="remove",
                    title="Remove",
                    placeholder="ss_tag_frequency, ss_dataset_dirs",
                    help="Keys with commas between them.",
                    when=_is_edit,
                ),
                Switch(
                    name="scrub",
                    title="Remove what is personal",
                    help="Captions, folders, names of images and comments, before the rest.",
                    when=_is_edit,
                ),
            ),
        ),
        Card(
            "Output",
            (
                Switch(
                    name="in_place",
                    title="In the file itself",
                    help="The old metadata is kept, so that “What to do” can take the edit back.",
                    when=_is_edit,
                ),
                Words(
                    name="target",
                    title="New file",
                    placeholder="empty: next to the file, with another name",
                    when=lambda values: _is_edit(values) and not values["in_place"],
                ),
            ),
        ),
    ),
)
PUBLISH = Utility(
    id="publish",
    title="Publish",
    verb="Upload",
    about="Uploads a LoRA to Hugging Face, with a model card of what is known of it. It is private unless you want otherwise.",
    module="trainer_core.publishing.upload",
    # Its form is that of the upload itself.
    made=lambda *_: None,
    kinds=(),
    guide=(PAGE, "publish-a-lora"),
    takes="file",
    makes=False,
    cards=(Card("File", (ONE,)),),
)
