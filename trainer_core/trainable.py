"""Which engines train a model, and why the others do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core import catalog, registry
from trainer_core.backend import BackendManifest, FamilyClaim

if TYPE_CHECKING:
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
    if found.apart and found.variant not in claim.options.get("variants", ()):
        return found.apart
    return _misfit(found, claim, manifest.title)


def _misfit(found: Detection, claim: FamilyClaim, engine: str) -> str:
    """Why an engine that trains the family cannot load it in this form; "" when it can."""
    if found.layout == "pipeline":
        reads_it = claim.options.get("folders", True)
        return (
            "" if reads_it else f"{engine} reads this family from one .safetensors file, not from a diffusers folder."
        )
    if not claim.options.get("single_file", True):
        return f"{engine} reads this family from a diffusers folder, not from a single file."
    return _lacks(found, claim) or _odd_names(found, claim, engine)


def _lacks(found: Detection, claim: FamilyClaim) -> str:
    """That a file holds too little where no file beside it can fill the gap; "" when it does not."""
    if not set(claim.parts) <= set(claim.optional_parts):
        return ""
    if found.role == "diffusion_model":
        alone = "It is the diffusion model alone, and training takes text encoders and VAE from the same file."
        return f"{alone} Choose the whole checkpoint."
    from trainer_core.families import load_families

    family = load_families().get(found.family or "")
    kinds = family.parts_of(found.variant) if family and found.parts else {}
    absent = [catalog.parts()[kinds[setting][0]].title for setting in kinds if setting not in found.parts]
    if not absent:
        return ""
    lacking = f"It is not whole: it holds no {' and no '.join(absent)}, and training needs every part."
    return f"{lacking} Choose the whole checkpoint."


def _odd_names(found: Detection, claim: FamilyClaim, engine: str) -> str:
    """That the tensors of a file are named as the engine's loader does not expect; "" where they are, or it does not say."""
    layouts, prefixes = claim.options.get("layouts"), claim.options.get("prefixes")
    hint = "Use the file that the model's makers publish, or save it anew."
    if found.layout and layouts is not None and found.layout not in layouts:
        known = " and ".join(layouts)
        return f"{engine} knows this family in the layout {known}, and this file is in that of {found.layout}. {hint}"
    if found.layout and prefixes is not None and found.prefix not in prefixes:
        odd = f"which begin with {found.prefix!r}" if found.prefix else f"which lack {prefixes[0]!r} in front of them"
        return f"{engine} does not know the names in this file, {odd}. {hint}"
    return ""


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
