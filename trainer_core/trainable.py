"""Which engines train a model, and why the others do not."""

from __future__ import annotations

from trainer_core import registry
from trainer_core.backend import BackendManifest
from trainer_core.detection import Detection

BASES = ("checkpoint", "diffusion_model")
"""The roles that can be trained on."""

UNREAD = {
    "gguf": "It is a GGUF file: its weights are rounded to a few bits, and engines train on the weights they were made from.",
    "pickle": "It is a pickle, which can run code when an engine loads it. Convert it to safetensors first.",
    "sharded": "It is in several files, which engines read only inside a diffusers folder.",
}
"""Formats that Easel recognises and no engine is given."""
PACKED = ("U8", "I8")
"""Number formats of weights that are packed (nf4, int8). Source: bitsandbytes, functional.quantize_4bit stores them so."""


def by(found: Detection) -> tuple[str, ...]:
    """The ids of the engines that train a model."""
    return tuple(engine.manifest.id for engine in registry.available() if not why_not(found, engine.manifest))


def why_not(found: Detection, manifest: BackendManifest) -> str:
    """The sentence why an engine does not train a model; "" when it does."""
    if found.role not in BASES:
        return f"{_what(found.role)} is not a base model that can be trained on."
    if reason := unread(found):
        return reason
    claim = manifest.families.get(found.family or "")
    if claim is None:
        reason = manifest.refused.get(found.family or "", "")
        return f"{manifest.title} does not train {found.family}{f': {reason}' if reason else '.'}"
    return found.apart if found.variant not in claim.options.get("variants", ()) else ""


def unread(found: Detection) -> str:
    """The sentence why no engine is given a file of this format, model or part; "" when engines read it."""
    if found.format in UNREAD:
        return UNREAD[found.format]
    if found.scaled:
        return (
            "Its weights are scaled fp8, made for ComfyUI: an engine would leave out the scales and take other weights."
        )
    if found.dtype in PACKED:
        return "Its weights are packed to a few bits, and engines train on the weights they were made from."
    return ""


def _what(role: str) -> str:
    words = {"lora": "A LoRA", "vae": "A VAE", "controlnet": "A ControlNet", "embedding": "An embedding"}
    return words.get(role) or ("A text encoder" if role == "text_encoder" else "A file that is not recognised")
