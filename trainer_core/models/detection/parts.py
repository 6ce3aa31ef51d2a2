"""Detects VAEs and text encoders: which one a file is, and which ones a model contains."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

from trainer_core import catalog
from trainer_core.catalog import Part, PartSignature
from trainer_core.models import renaming
from trainer_core.models.detection.result import Detection
from trainer_core.models.families import PREFIXES, load_families
from trainer_core.models.header import Header, TensorInfo
from trainer_core.text import printable

VAE_PREFIXES = ("first_stage_model.", "vae.")
TEXT_ENCODER_PREFIXES = ("cond_stage_model.", "conditioner.", "text_encoders.")
"""The prefixes of text encoders in a checkpoint. Source: ComfyUI, supported_models.py; Stability AI's own files."""

# Keys of VAEs and text encoders whose kind is not in the catalogue.
VAE_KEYS = (
    ("decoder.conv_in.weight", "encoder.conv_in.weight"),
    ("decoder.conv1.weight", "encoder.conv1.weight"),
    ("decoder.conv_in.conv.weight", "encoder.conv_in.conv.weight"),
)
TEXT_ENCODER_KEYS = (
    "text_model.encoder.layers.0.mlp.fc1.weight",
    "encoder.block.0.layer.0.SelfAttention.k.weight",
    "transformer.resblocks.0.attn.in_proj_weight",
    "layers.0.self_attn.k_proj.weight",
)


# Source: transformers models/qwen3_vl/modeling_qwen3_vl.py, Qwen3VLModel; llama.cpp gguf-py/gguf/constants.py, MODEL_ARCH_NAMES.
LANGUAGE_MODEL = "language_model."
"""The prefix of the language model in a vision-language model; without it, its layout can equal that of the plain model."""
VISION = ("visual.", "model.visual.")
"""The prefixes of the image encoder in Qwen's vision-language models."""


def _has_vision(header: Header, root: str) -> bool:
    """Whether a file contains an image encoder, or is a GGUF file with the language model of a vision-language model."""
    if root.endswith(LANGUAGE_MODEL):
        return True
    is_gguf = header.metadata.get("general.architecture", "").startswith("qwen3vl")
    return is_gguf or any(key.startswith(VISION) or ".visual." in key for key in header.tensors)


TEXT_ENCODER_LAYERS = (".self_attn.k_proj.", ".SelfAttention.k.")


def has_denoiser(header: Header) -> bool:
    """Whether a header contains blocks of a diffusion model, of a known family or not."""
    starts = (*PREFIXES[:-1], "unet/", "transformer/")
    blocks = ("input_blocks.", "down_blocks.0.attentions", "double_blocks.", "joint_blocks.", "transformer_blocks.")
    return any(key.startswith((*starts, *blocks)) for key in header.tensors)


def held(header: Header) -> dict[str, Part]:
    """The kinds of VAEs and text encoders in a header, by the prefix of their keys."""
    found: dict[str, Part] = {}
    for key in header.tensors:
        if not key.endswith(_landmarks()) or key.startswith(PREFIXES[:2]):
            continue
        for landmark, asked in _by_landmark().items():
            root = key.removesuffix(landmark)
            is_whole_name = root != key and (not root or root[-1] in "./")
            for part, signature in asked if is_whole_name else ():
                is_vision = signature.vision is not None and _has_vision(header, root)
                if is_vision is bool(signature.vision) and _fits(signature, header.tensors, root):
                    found[root] = part
    return found


def inside(header: Header) -> dict[str, str]:
    """The parts that a single file contains: their settings, each with the prefix of the part's tensors."""
    settings = _settings()
    roots = {part.id: root for root, part in reversed(held(header).items())}
    names = header.tensors
    return {
        setting: _prefix(kind, names, roots[kind]) for kind in settings if kind in roots for setting in settings[kind]
    }


def _prefix(kind: str, names: Mapping[str, TensorInfo], root: str) -> str:
    """The prefix of a part's tensors. The text model of CLIP has a name of its own below it, which is not part of the prefix."""
    found = form(kind, names, root)
    return found.prefix if found else root


def form(kind: str, names: Mapping[str, TensorInfo], root: str) -> renaming.Form | None:
    """The layout of the tensor names of a part below a prefix; None if no layout of this kind is known."""
    # The first two are names in the text model itself, below the prefix.
    prefixes = [root.removesuffix(own) for own in ("transformer.model.", "text_model.") if root.endswith(own)]
    forms = (renaming.form_of(kind, names, prefix) for prefix in (*prefixes, root))
    return next((form for form in forms if form is not None), None)


def detect(header: Header) -> Detection | None:
    """The VAE or text encoder with this header; None for anything else."""
    if header.is_folder or has_denoiser(header):
        return None
    found = held(header)
    kinds = {part.id: part for part in found.values()}
    if len(kinds) == 1:
        part = next(iter(kinds.values()))
        root = next(iter(found))
        evidence = (f"has the layers of the {part.title}", *_decoder(header, root))
        layout, prefix = form(part.id, header.tensors, root) or ("", root)
        return Detection(None, part.role, part.id, evidence=evidence, apart=part.apart, layout=layout, prefix=prefix)
    if kinds:
        names = ", ".join(sorted(part.title for part in kinds.values()))
        roles = {part.role for part in kinds.values()}
        return Detection(
            None, roles.pop() if len(roles) == 1 else "unknown", evidence=(f"contains several parts: {names}",)
        )
    return _of_no_known_kind(header)


def named_in_part(header: Header) -> str:
    """The noun for the model to which a shard of a VAE or text encoder belongs; "" for other shards."""
    if any(key.startswith(("encoder.", "decoder.")) and "conv" in key for key in header.tensors):
        return "a VAE"
    return "a text encoder" if any(word in key for key in header.tensors for word in TEXT_ENCODER_LAYERS) else ""


def _of_no_known_kind(header: Header) -> Detection | None:
    vae_key = _vae_key(header)
    if vae_key is not None:
        return Detection(None, "vae", evidence=(f"has {vae_key} and no diffusion model: a VAE of an unknown kind",))
    text_key = next((key for key in header.tensors if key.endswith(TEXT_ENCODER_KEYS)), None)
    if text_key is None or _is_image_encoder(header):
        return None
    return Detection(
        None, "text_encoder", evidence=(f"has {printable(text_key, 120)}: a text encoder of an unknown kind",)
    )


def _is_image_encoder(header: Header) -> bool:
    return any("vision_model." in key for key in header.tensors) and not any(
        "text_model." in key for key in header.tensors
    )


def _decoder(header: Header, root: str) -> Iterable[str]:
    if f"{root}decoder.block.0.layer.0.SelfAttention.q.weight" in header.tensors:
        yield "also contains its decoder, which is not needed"


def _vae_key(header: Header) -> str | None:
    """The first key of the VAE layout in a header; None without one."""
    for layout in VAE_KEYS:
        if any(all(prefix + key in header.tensors for key in layout) for prefix in ("", *VAE_PREFIXES)):
            return layout[0]
    return None


@functools.cache
def _by_landmark() -> Mapping[str, Sequence[tuple[Part, PartSignature]]]:
    found: dict[str, list[tuple[Part, PartSignature]]] = {}
    for part in catalog.parts().values():
        for signature in part.signatures:
            found.setdefault(signature.landmark, []).append((part, signature))
    return found


@functools.cache
def _landmarks() -> tuple[str, ...]:
    return tuple(_by_landmark())


@functools.cache
def _settings() -> Mapping[str, tuple[str, ...]]:
    """The settings that use each kind of part, over all families."""
    found: dict[str, dict[str, None]] = {}
    for family in load_families().values():
        for setting, kinds in family.parts.items():
            for kind in kinds:
                found.setdefault(kind, {})[setting] = None
    return {kind: tuple(settings) for kind, settings in found.items()}


def _fits(signature: PartSignature, tensors: Mapping[str, TensorInfo], root: str) -> bool:
    """Whether the tensors with the prefix `root` match the whole signature of a part."""
    if any(root + key in tensors for key in signature.absent) or not all(
        root + key in tensors for key in signature.present
    ):
        return False
    return all(_has_sizes(tensors.get(root + key), sizes) for key, sizes in signature.shapes.items())


def _has_sizes(found: TensorInfo | None, sizes: Sequence[int | str]) -> bool:
    if found is None or len(found.shape) != len(sizes):
        return False
    return all(wanted in ("*", size) for wanted, size in zip(sizes, found.shape, strict=True))
