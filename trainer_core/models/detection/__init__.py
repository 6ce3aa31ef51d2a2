"""Detects what a model is from its header alone: role, family, variant, prediction type, and the evidence. Not: reading the file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from trainer_core.models.detection import guess, model, networks, others, packing, parts, shards, wrapped
from trainer_core.models.detection.parts import TEXT_ENCODER_PREFIXES, VAE_PREFIXES
from trainer_core.models.detection.result import ROLES, Detection, Guess, ModelSize
from trainer_core.models.families import ModelFamily, load_families
from trainer_core.models.header import Header

SCALES = (".scale_weight", ".weight_scale", ".weight_scale_inv", "scaled_fp8", ".comfy_quant")
"""The endings of keys that belong to scaled weights. Source: ComfyUI, comfy/ops.py and comfy/quant_ops.py."""

HIDE_MODELS = ("unknown", "vae", "text_encoder")
"""The roles that a file may seem to have while a prefix still hides its diffusion model."""

__all__ = ["ROLES", "TEXT_ENCODER_PREFIXES", "VAE_PREFIXES", "Detection", "Guess", "ModelSize", "detect"]


def detect(
    header: Header, families: Mapping[str, ModelFamily] | None = None, *, sha256: str | None = None
) -> Detection:
    """What the model with this header is; role "unknown" with the reasons when nothing known matches.

    `sha256` is the hash of the file, where it is known: it helps to guess well-known files.

    Raises:
        AmbiguousModelError: more than one family matches.
    """
    families = load_families() if families is None else families
    if (plain := packing.unpacked(header)) is not None:
        found = detect(plain, families, sha256=sha256)
        sentence = f"its weights are stored as {packing.QUANTO} saves them"
        return replace(found, packed_by=packing.QUANTO, dtype=_dtype(header), evidence=(*found.evidence, sentence))
    rejected: dict[str, str] = {}
    found = model.detect(header, families, rejected) or shards.detect(header)
    other = None if found else _other_than_model(header)
    if found is None and (other is None or other.role in HIDE_MODELS):
        found = _unwrapped(header, families, rejected)
    found = found or other
    if found is None:
        found = Detection(None, "unknown", evidence=(_why_unknown(families, header),))
    found = guess.guessed(found, header, sha256)
    scaled = any(key.endswith(SCALES) for key in header.tensors)
    return replace(
        found,
        dtype=_dtype(header),
        rejected=rejected,
        format=header.format,
        scaled=scaled,
        first_name=min(header.tensors) if found.prefix else "",
        weight_variant=header.weight_variant,
        lacking=header.lacking,
    )


def _unwrapped(header: Header, families: Mapping[str, ModelFamily], rejected: dict[str, str]) -> Detection | None:
    """What a header is without the prefixes that programs put before all its keys; None when that is unknown."""
    for wrapper, inside in wrapped.levels(header):
        reasons: dict[str, str] = {}
        found = model.detect(inside, families, reasons)
        if found is not None:
            rejected.clear()
            rejected.update(reasons)
        elif wrapped.is_of_programs(wrapper):
            found = _other_than_model(inside)
        if found is not None and (found.family or found.role not in HIDE_MODELS):
            sentence = f"all its keys have the prefix {wrapper}, which some programs add"
            return replace(found, prefix=wrapper + found.prefix, evidence=(*found.evidence, sentence))
    return None


def _other_than_model(header: Header) -> Detection | None:
    """What a header is when it is not a base model. Adapters can contain LoRA layers, so they are checked before LoRAs."""
    asked = (others.controlnet, others.named, networks.detect, others.embedding, parts.detect)
    return next((found for ask in asked if (found := ask(header))), None)


def _why_unknown(families: Mapping[str, ModelFamily], header: Header) -> str:
    near = model.nearest(families, header) if families else ""
    return near or f"it matches none of the {len(families)} known families"


def _dtype(header: Header) -> str:
    """The dtype of most weights, spelt as in safetensors."""
    sizes: Counter[str] = Counter()
    for info in header.tensors.values():
        sizes[info.dtype] += math.prod(info.shape)
    return sizes.most_common(1)[0][0] if sizes else ""
