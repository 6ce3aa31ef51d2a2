"""What pasted configurations of sd-scripts say about several image folders: the entries of `dataset.subsets`.

Source: library/config_util.py: the values of a subset are its own, else those of its dataset, else the general ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainer_core.engines.pasted import Item, shown
from trainer_core.engines.pasted_options import side_of
from trainer_core.plan import fields
from trainer_core.plan.subsets import LIST

NAMES = {
    "image_dir": "path",
    "num_repeats": "repeats",
    "class_tokens": "caption",
    "caption_extension": "caption_extension",
    "shuffle_caption": "shuffle_captions",
    "keep_tokens": "keep_tokens",
    "caption_dropout_rate": "caption_dropout",
    "caption_tag_dropout_rate": "tag_dropout",
    "flip_aug": "flip",
    "alpha_mask": "alpha_masks",
    "enable_wildcard": "caption_choices",
    "conditioning_data_dir": "masks",
    "resolution": "resolution",
    "validation_split": "validation_share",
}
"""The keys of a subset, and those of an entry of `dataset.subsets`."""
USUAL: Mapping[str, Any] = {
    "num_repeats": 1,
    "shuffle_caption": False,
    "keep_tokens": 0,
    "caption_dropout_rate": 0.0,
    "caption_tag_dropout_rate": 0.0,
    "flip_aug": False,
    "validation_split": 0.0,
}
"""The engine's defaults, for what another folder sets and this one does not."""
NOT_SAID = ("subsets", "is_reg", "validation_seed")
FOR_ALL = "Easel has one value for all image folders, that of the first one."
SHARE, EVERY = "dataset.validation_share", "dataset.validate_every"
REPEATED = re.compile(r"(\d+)_(.+)")


def entries(first: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> Iterator[Item]:
    """The item of further subsets, each with the values of its dataset, and those of what they cannot have of their own."""
    tables = []
    for other in others:
        table, wrong = _entry(first, other)
        yield from wrong
        tables.append(table)
    if tables:
        text = ", ".join(shown(table.get("path", "")) for table in tables)
        value, problem = fields.check(LIST, tuple(tables))
        yield Item("datasets", text, "refused" if problem else "setting", LIST, value, problem)


def _entry(first: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[dict[str, Any], list[Item]]:
    table: dict[str, Any] = {"kind": "regularisation"} if other.get("is_reg") else {}
    wrong = []
    for key in dict.fromkeys((*other, *(key for key in USUAL if key in first))):
        value = other.get(key, USUAL.get(key))
        if key in NAMES:
            is_own = key in ("image_dir", "class_tokens", "conditioning_data_dir") or value != first.get(
                key, USUAL.get(key)
            )
            if is_own and (side := side_of(value) if key == "resolution" else value) is not None:
                table[NAMES[key]] = side
        elif key not in NOT_SAID and value != first.get(key):
            wrong.append(Item(f"{key} ({shown(other.get('image_dir', ''))})", shown(value), "refused", reason=FOR_ALL))
    return table, wrong


def held_out(given: dict[str, Any]) -> Iterator[Item]:
    """What becomes of the options of validation, which are taken out of the given ones, where folders hold images out."""
    for key, path in (("validation_split", SHARE), ("validate_every_n_steps", EVERY)):
        if key in given:
            value, problem = fields.from_text(path, str(given.pop(key)))
            yield Item(key, shown(value), "refused" if problem else "setting", path, value, problem)
    for key in ("validation_seed", "validate_every_n_epochs"):
        if key in given:
            yield Item(key, shown(given.pop(key)), "same", reason="Easel chooses the held-out images by their names.")


def of_layout(folder: str, names: Sequence[str], *, is_class: bool = False) -> list[dict[str, Any]]:
    """The entries of folders in kohya's layout, as 10_name, inside another folder."""
    found = []
    for name in names:
        match = REPEATED.fullmatch(name)
        if match is not None:
            table = {"path": f"{folder.rstrip('/')}/{name}", "repeats": int(match[1]), "caption": match[2].strip()}
            found.append({**table, "kind": "regularisation"} if is_class else table)
    return found
