"""Edits of a model file's metadata as data: what is set, removed, cleaned, and the thumbnail. Nothing is written."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer_core import places
from trainer_core.errors import WeightsError, wrong_use
from trainer_core.models.header.tensors import shown as name_of
from trainer_core.text import TOKEN, printable

THUMBNAIL = "modelspec.thumbnail"
THUMBNAIL_PX = 256
"""The longest side of a thumbnail, in pixels. Source: ModelSpec 1.0.1, modelspec.thumbnail: an image of 256 x 256 as a data address."""
SPECIFICATION = "modelspec.sai_model_spec"
# The names under which trainers keep hashes of the tensors, or of the file. Source: sd-scripts train_util.py, precalculate_safetensors_hashes.
COMPUTED = ("sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256")
LONGEST_KEY, LONGEST_VALUE = 200, 4 << 20
"""The longest key in characters, and the longest value in bytes."""
SHOWN = 80


@dataclass(frozen=True)
class Change:
    """What happens to one key: its old and its new value as they may be shown, and the reason, "" if the user wanted it."""

    key: str
    action: Literal["set", "changed", "removed"]
    before: str = ""
    after: str = ""
    reason: str = ""


def edited(
    metadata: Mapping[str, str],
    *,
    values: Mapping[str, str],
    remove: Collection[str] = (),
    thumbnail: str = "",
    scrubs: bool = False,
    keep: Collection[str] = (),
) -> tuple[dict[str, str], tuple[Change, ...]]:
    """The metadata after an edit, and what changed. Private entries are removed first, so what is set stays.

    Raises:
        WeightsError: a key or a value is not possible, or the image cannot be read.
        RenamingError: `keep` names neither a group nor a key of the file.
    """
    found, reasons = dict(metadata), dict[str, str]()
    if scrubs:
        # What is private in a plan is known from all settings, which take longer to load than the rest of an edit.
        from trainer_core.tools import scrub

        found, findings = scrub.scrubbed(metadata, keep)
        reasons = {each.key: each.reason for each in findings}
    for key in remove:
        if key not in metadata:
            raise wrong_use(WeightsError(f"The file has no metadata key {printable(key, 60)!r}.", _known(metadata)))
        found.pop(key, None)
    for key, value in values.items():
        _check(key, value)
        found[key] = value
    if thumbnail:
        found[THUMBNAIL] = data_address(places.typed(thumbnail))
    return found, tuple(changes(metadata, found, reasons))


def notes(values: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    """Sentences about an edit that is possible and may not be wanted; `found` is the metadata after it."""
    from trainer_core.training.metadata import privacy

    for key, value in values.items():
        if what := privacy.private(value):
            yield f"The value of {printable(key, 60)} contains {what}. Everyone who gets the file can read it."
    described = [key for key in found if key.startswith("modelspec.") and key not in COMPUTED]
    if described and SPECIFICATION not in found:
        # Source: ModelSpec 1.0.1: sai_model_spec, the version of the specification, must be there.
        yield f"The file has keys of the Model Specification without {SPECIFICATION}: programs may ignore them. Set it to 1.0.0."


def data_address(path: Path) -> str:
    """An image as a small JPEG in the form of an address, as the Model Specification wants its thumbnail.

    Raises:
        WeightsError: it cannot be read, or is no image.
    """
    from trainer_core.curation import thumbnails

    if not path.is_file():
        what = "does not exist" if not path.exists() else "is no file"
        raise WeightsError(f"{name_of(path)} {what}.", "Choose a JPEG, PNG or WebP file.")
    content = thumbnails.made(path, THUMBNAIL_PX)
    if not content:
        raise WeightsError(f"{name_of(path)} cannot be read as an image.", "Choose a JPEG, PNG or WebP file.")
    return f"data:{thumbnails.TYPE};base64,{base64.b64encode(content).decode()}"


def _check(key: str, value: str) -> None:
    """Raises if a key or a value cannot be set."""
    if not key or len(key) > LONGEST_KEY or printable(key, LONGEST_KEY) != key or key == "__metadata__":
        raise wrong_use(
            WeightsError(
                f"{printable(key, 60)!r} is not possible as a metadata key.",
                f"Use 1 to {LONGEST_KEY} visible characters.",
            )
        )
    if _is_easels(key):
        raise wrong_use(
            WeightsError(f"Easel writes {key} itself, from the training.", "You can remove it, but not set it.")
        )
    if key in COMPUTED:
        raise wrong_use(WeightsError(f"{key} is computed from the weights.", "You can remove it, but not set it."))
    if TOKEN.search(value):
        raise WeightsError(
            f"The value of {key} looks like an access token, which everyone who gets the file could read.",
            "Leave the token out.",
        )
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise wrong_use(WeightsError(f"The value of {key} is not text.", "Use letters, digits and signs.")) from None
    if size > LONGEST_VALUE:
        raise wrong_use(WeightsError(f"The value of {key} has {size:,} bytes.", f"{LONGEST_VALUE:,} are possible."))


def _is_easels(key: str) -> bool:
    """Whether a key is one that Easel writes into the results of trainings."""
    if not key.startswith("easel."):
        return False
    # Known beside the plan, whose settings take longer to load than the rest of an edit.
    from trainer_core.training.metadata.keys import KEYS

    return key in KEYS


def _known(metadata: Mapping[str, str]) -> str:
    names = [printable(key, 60) for key in sorted(metadata)]
    return f"It has: {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}." if names else "It has no metadata."


def changes(
    before: Mapping[str, str], after: Mapping[str, str], reasons: Mapping[str, str] | None = None
) -> Iterator[Change]:
    """What differs between two states of the metadata; `reasons` are those of keys that the user did not name."""
    reasons = reasons or {}
    for key, value in before.items():
        if key not in after:
            yield Change(key, "removed", _shown(value), "", reasons.get(key, ""))
        elif after[key] != value:
            yield Change(key, "changed", _shown(value), _shown(after[key]), reasons.get(key, ""))
    for key, value in after.items():
        if key not in before:
            yield Change(key, "set", "", _shown(value))


def _shown(value: str) -> str:
    return printable(value, SHOWN)
