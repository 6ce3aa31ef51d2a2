"""The metadata of a new network: what the first input says, without what is no longer true, and with what is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer_core.models.loaders import PEFT

HASHES = {"sshs_model_hash": "", "modelspec.hash_sha256": "0x"}
"""The keys for the hash of the tensors, each with what stands before it. Source: sd-scripts train_util.py; ModelSpec 1.0.1."""
HASHED = (*HASHES, "sshs_legacy_hash")
OUTDATED = (PEFT, *HASHED)
"""What describes the tensors of one file: alpha and rank in PEFT's form, and hashes."""
OF_LYCORIS = ("lycoris_config",)
TRIGGER, TITLE = "modelspec.trigger_phrase", "modelspec.title"
DYNAMIC = "Dynamic"
"""What sd-scripts writes for ranks that differ. Source: networks/resize_lora.py."""
PLAIN_MODULE = "networks.lora"


@dataclass(frozen=True)
class Sizes:
    """The rank and alpha of one layer of the new file, and whether it has a kernel."""

    rank: int
    alpha: float
    is_conv: bool


def described(metadata: Mapping[str, str], layers: Iterable[Sizes], *, is_plain: bool) -> dict[str, str]:
    """The metadata of one network with other ranks. `is_plain`: every layer is a LoRA now."""
    found = {key: value for key, value in metadata.items() if key not in OUTDATED}
    linear, conv = _apart(layers)
    if linear or conv:
        found["ss_network_dim"], found["ss_network_alpha"] = _common(linear or conv)
    if not is_plain:
        return found
    found = {key: value for key, value in found.items() if key not in OF_LYCORIS}
    module = found.get("ss_network_module", "")
    if module.startswith("lycoris") or not module:
        found["ss_network_module"] = PLAIN_MODULE
    if "ss_network_args" in found or conv:
        args = _arguments(found.get("ss_network_args", ""))
        for name in ("algo", "factor", "dora_wd", "use_tucker", "use_cp", "use_scalar", "decompose_both"):
            args.pop(name, None)
        if conv:
            args["conv_dim"], args["conv_alpha"] = _common(conv)
        found["ss_network_args"] = json.dumps(args)
    return found


def merged(metadatas: Sequence[Mapping[str, str]], own: Iterable[str], title: str) -> dict[str, str]:
    """The metadata of a sum: that of the first network without `own` keys, which describe one training, and all trigger phrases."""
    left = set(own)
    found = {key: value for key, value in metadatas[0].items() if key not in left}
    triggers = [each.get(TRIGGER, "").strip() for each in metadatas]
    if joined := ", ".join(dict.fromkeys(filter(None, triggers))):
        found[TRIGGER] = joined
    if TITLE in found:
        found[TITLE] = title
    return found


def hashed(digest: str) -> dict[str, str]:
    """The hash of the tensors under the keys that programs read."""
    return {key: before + digest for key, before in HASHES.items()}


def multiplied(alpha: str, times: float) -> str:
    """An alpha in the metadata, multiplied; it is dynamic if it was no number."""
    try:
        return f"{float(alpha) * times:g}"
    except ValueError:
        return DYNAMIC


def _apart(layers: Iterable[Sizes]) -> tuple[list[Sizes], list[Sizes]]:
    every = list(layers)
    return [each for each in every if not each.is_conv], [each for each in every if each.is_conv]


def _common(layers: Sequence[Sizes]) -> tuple[str, str]:
    ranks, alphas = {each.rank for each in layers}, {each.alpha for each in layers}
    return (
        str(next(iter(ranks))) if len(ranks) == 1 else DYNAMIC,
        f"{next(iter(alphas)):g}" if len(alphas) == 1 else DYNAMIC,
    )


def _arguments(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
