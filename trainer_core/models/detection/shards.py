"""Describes one shard of a model, and which file to choose instead. A shard never counts as a whole model."""

from __future__ import annotations

from trainer_core.models.detection import bases, parts
from trainer_core.models.detection.result import Detection
from trainer_core.models.families import load_families
from trainer_core.models.header import Header, Shard
from trainer_core.text import printable

MOST = 4
"""How many missing shards a sentence lists."""


def detect(header: Header) -> Detection | None:
    """The model to which a shard belongs, and which file to choose instead; None for a file that is not a shard."""
    if header.shard is None:
        return None
    family, _ = bases.base_of(list(_layers(header)), {})
    title = load_families()[family].title if family else ""
    whole = f"a {title} model" if title else parts.named_in_part(header) or "a model"
    sentence = f"is part {header.shard.number} of {header.shard.count} of {whole}: {_instead(header.shard)}"
    return Detection(None, "unknown", evidence=(sentence,), base_family=family)


def _layers(header: Header) -> list[bases.Layer]:
    return [
        bases.layer(key.removesuffix(".weight"), info.shape[1], info.shape[0])
        for key, info in header.tensors.items()
        if key.endswith(".weight") and len(info.shape) > 1
    ]


def _instead(shard: Shard) -> str:
    if shard.missing:
        named = [str(number) for number in shard.missing[:MOST]]
        if len(shard.missing) > MOST:
            named.append(f"{len(shard.missing) - MOST} more")
        noun, verb = ("part", "is") if len(named) == 1 else ("parts", "are")
        *first, last = named
        listed = f"{', '.join(first)} and {last}" if first else last
        return f"{noun} {listed} {verb} missing in its folder; download the whole model"
    if shard.index:
        return f"choose {printable(shard.index, 200)} in its folder, or the whole folder"
    return "all parts are in its folder, but their .index.json is missing; download that, too, and choose it"
