"""The card of a dataset: a Markdown text whose first part is YAML for the Hub.

Source: https://huggingface.co/docs/hub/datasets-cards, and the schema in hub-docs (datasetcard.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.curation import authors, exporting
from trainer_core.curation.exporting import Preview
from trainer_core.errors import RunError
from trainer_core.publishing import model_card
from trainer_core.publishing.model_card import NO_LICENCE
from trainer_core.text import printable, without_secrets

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def draft(
    root: Path,
    *,
    title: str = "",
    licence: str = NO_LICENCE,
    trigger: str = "",
    ending: str = ".txt",
    seen: Preview | None = None,
) -> str:
    """The text of the card, for the user to read and change.

    Args:
        root: the folder of the dataset.
        title: its name; by default that of its folder.
        licence: by the Hub's identifier.
        trigger: the trigger word of its captions.
        ending: the extension of its caption files.
        seen: what a copy contains, if that was counted already.

    Raises:
        RunError: the licence is not known.
        DatasetError: the folder cannot be listed.
    """
    if licence not in model_card.licences():
        raise RunError(
            f"{printable(licence, 60)!r} is not a licence that Easel knows.",
            f"Known: {', '.join(model_card.licences())}.",
        )
    seen = seen or exporting.preview(root, ending)
    name = title or places.real(root).name
    front: dict[str, Any] = {
        "pretty_name": without_secrets(printable(name, 200)),
        "task_categories": ["text-to-image"],
        "tags": ["image", "easel"],
        "size_categories": [next((text for most, text in _SIZES if seen.images < most), "n>1M")],
    }
    if licence != NO_LICENCE:
        front["license"] = licence
    by = authors.counted(root, ending)
    return f"---\n{model_card.yaml_of(front)}---\n\n{_body(name, seen, by, trigger, licence)}"


def _body(name: str, seen: Preview, by: Mapping[str, int], trigger: str, licence: str) -> str:
    plain, code = model_card.plain, model_card.code
    images = f"{seen.images:,} {'image' if seen.images == 1 else 'images'}"
    parts = [f"# {plain(name)}", f"{images}, {seen.captions:,} with a caption, for training image models."]
    if trigger.strip():
        parts.append(f"## Trigger word\n\nThe captions use `{code(trigger)}`.")
    rows = "\n".join(f"| {_author(author)} | {count:,} |" for author, count in sorted(by.items()))
    if rows:
        parts.append(f"## Captions\n\n| written by | captions |\n|---|---|\n{rows}")
    parts.append(
        "## Use it\n\nEach line of `metadata.jsonl` names an image (`file_name`) and its caption (`text`).\n\n"
        '```python\nfrom datasets import load_dataset\n\ndataset = load_dataset("OWNER/NAME")\n```'
    )
    if licence == "other":
        parts.append("## Licence\n\nDescribe here under which terms these images may be used.")
    return "\n\n".join(parts) + "\n"


def _author(author: str) -> str:
    if author == authors.UNKNOWN:
        return "not known"
    return "a person" if author == "user" else f"`{model_card.code(author)}`"
