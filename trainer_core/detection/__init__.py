"""What a model is, from its header alone: role, family, variant, what it predicts, and why."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from trainer_core.detection import guess, model, networks, others, parts, wrapped
from trainer_core.detection.parts import TEXT_ENCODER_PREFIXES, VAE_PREFIXES
from trainer_core.detection.result import ROLES, Detection, Guess
from trainer_core.families import ModelFamily, load_families
from trainer_core.header import Header

SCALES = (".scale_weight", ".weight_scale", "scaled_fp8", ".comfy_quant")
"""What stands beside weights that were divided by a scale. Source: ComfyUI, comfy/ops.py and comfy/quant_ops.py."""

HIDE_MODELS = ("unknown", "vae", "text_encoder")
"""What a file may seem to be whose diffusion model stands behind a word that is not looked behind."""

_PIECE = re.compile(r"-\d{5}-of-(\d{5})\.[a-z]+$")

__all__ = ["ROLES", "TEXT_ENCODER_PREFIXES", "VAE_PREFIXES", "Detection", "Guess", "detect"]


def detect(
    header: Header, families: Mapping[str, ModelFamily] | None = None, *, sha256: str | None = None
) -> Detection:
    """What the model behind a header is; role "unknown" with the reasons when nothing known fits.

    `sha256` is that of the file, where it is known: well-known files are guessed by it.

    Raises:
        AmbiguousModelError: more than one family fits.
    """
    families = load_families() if families is None else families
    rejected: dict[str, str] = {}
    found = model.detect(header, families, rejected)
    beside = None if found else _beside_models(header)
    if found is None and (beside is None or beside.role in HIDE_MODELS):
        found = _unwrapped(header, families, rejected)
    found = found or beside
    if found is None:
        found = Detection(None, "unknown", evidence=(_why_unknown(families, header),))
    found = guess.guessed(found, header, sha256)
    scaled = any(key.endswith(SCALES) for key in header.tensors)
    return replace(found, dtype=_dtype(header), rejected=rejected, format=header.format, scaled=scaled)


def _unwrapped(header: Header, families: Mapping[str, ModelFamily], rejected: dict[str, str]) -> Detection | None:
    """What a header is of without the words that programs put in front of all its names; None when that is not known."""
    for wrapper, inside in wrapped.levels(header):
        reasons: dict[str, str] = {}
        found = model.detect(inside, families, reasons)
        if found is not None:
            rejected.clear()
            rejected.update(reasons)
        elif wrapped.is_of_programs(wrapper):
            found = _beside_models(inside)
        if found is not None and (found.family or found.role not in HIDE_MODELS):
            sentence = f"its names stand behind {wrapper}, as programs put it there"
            return replace(found, prefix=wrapper + found.prefix, evidence=(*found.evidence, sentence))
    return None


def _beside_models(header: Header) -> Detection | None:
    """What a header is of that is no model. Adapters may hold the layers of a LoRA, and are asked for before."""
    asked = (others.controlnet, others.named, networks.detect, others.embedding, parts.detect)
    return next((found for ask in asked if (found := ask(header))), None)


def _why_unknown(families: Mapping[str, ModelFamily], header: Header) -> str:
    if piece := _PIECE.search(header.path.name):
        return f"it is one of {int(piece[1])} files of a model: choose the file .index.json beside it, or its folder"
    near = model.nearest(families, header) if families else ""
    return near or f"it fits none of the {len(families)} families that are known"


def _dtype(header: Header) -> str:
    """The number format that most weights have, as safetensors spells it."""
    sizes: Counter[str] = Counter()
    for info in header.tensors.values():
        sizes[info.dtype] += math.prod(info.shape)
    return sizes.most_common(1)[0][0] if sizes else ""
