"""VAEs and text encoders: which a file is, and which a model holds."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

from trainer_core import catalog
from trainer_core.catalog import Part, PartSignature
from trainer_core.detection.result import Detection
from trainer_core.families import PREFIXES, load_families
from trainer_core.header import Header, TensorInfo
from trainer_core.text import printable

VAE_PREFIXES = ("first_stage_model.", "vae.")
TEXT_ENCODER_PREFIXES = ("cond_stage_model.", "conditioner.", "text_encoders.")
"""What files that hold their parts put in front of them. Source: ComfyUI, supported_models.py; Stability AI's own files."""

# How VAEs and text encoders of kinds that are not in the catalogue are known as such at least.
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


def has_denoiser(header: Header) -> bool:
    """Whether a header has blocks of a diffusion model, of a known family or not."""
    starts = (*PREFIXES[:-1], "unet/", "transformer/")
    blocks = ("input_blocks.", "down_blocks.0.attentions", "double_blocks.", "joint_blocks.", "transformer_blocks.")
    return any(key.startswith((*starts, *blocks)) for key in header.tensors)


def held(header: Header) -> dict[str, Part]:
    """The kinds of VAEs and text encoders that a header holds, by what stands in front of their names."""
    found: dict[str, Part] = {}
    for key in header.tensors:
        if not key.endswith(_landmarks()) or key.startswith(PREFIXES[:2]):
            continue
        for landmark, asked in _by_landmark().items():
            root = key.removesuffix(landmark)
            is_whole_name = root != key and (not root or root[-1] in "./")
            for part, signature in asked if is_whole_name else ():
                if _fits(signature, header.tensors, root):
                    found[root] = part
    return found


def inside(header: Header) -> tuple[str, ...]:
    """The settings of the parts that a single file holds itself, by what they are."""
    settings = _settings()
    kinds = {part.id for part in held(header).values()}
    return tuple(dict.fromkeys(setting for kind in settings if kind in kinds for setting in settings[kind]))


def detect(header: Header) -> Detection | None:
    """The VAE or text encoder that a header is of; None for anything else."""
    if header.is_folder or has_denoiser(header):
        return None
    found = held(header)
    kinds = {part.id: part for part in found.values()}
    if len(kinds) == 1:
        part = next(iter(kinds.values()))
        root = next(iter(found))
        evidence = [f"has the layers of the {part.title}", *(_decoder(header, root))]
        return Detection(None, part.role, part.id, evidence=tuple(evidence), apart=part.apart)
    if kinds:
        names = ", ".join(sorted(part.title for part in kinds.values()))
        roles = {part.role for part in kinds.values()}
        return Detection(
            None, roles.pop() if len(roles) == 1 else "unknown", evidence=(f"holds several parts: {names}",)
        )
    return _of_no_known_kind(header)


def _of_no_known_kind(header: Header) -> Detection | None:
    vae_key = _vae_key(header)
    if vae_key is not None:
        return Detection(None, "vae", evidence=(f"has {vae_key} and no diffusion model: a VAE of no known kind",))
    text_key = next((key for key in header.tensors if key.endswith(TEXT_ENCODER_KEYS)), None)
    if text_key is None or _is_picture_encoder(header):
        return None
    return Detection(
        None, "text_encoder", evidence=(f"has {printable(text_key, 120)}: a text encoder of no known kind",)
    )


def _is_picture_encoder(header: Header) -> bool:
    return any("vision_model." in key for key in header.tensors) and not any(
        "text_model." in key for key in header.tensors
    )


def _decoder(header: Header, root: str) -> Iterable[str]:
    if f"{root}decoder.block.0.layer.0.SelfAttention.q.weight" in header.tensors:
        yield "holds its decoder too, which is not needed"


def _vae_key(header: Header) -> str | None:
    """The first key of the layout of VAEs that a header has, if any."""
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
    """The settings that each kind of part serves in some family."""
    found: dict[str, dict[str, None]] = {}
    for family in load_families().values():
        for setting, kinds in family.parts.items():
            for kind in kinds:
                found.setdefault(kind, {})[setting] = None
    return {kind: tuple(settings) for kind, settings in found.items()}


def _fits(signature: PartSignature, tensors: Mapping[str, TensorInfo], root: str) -> bool:
    """Whether all of a part's signature is there behind `root`."""
    if any(root + key in tensors for key in signature.absent) or not all(
        root + key in tensors for key in signature.present
    ):
        return False
    return all(_has_sizes(tensors.get(root + key), sizes) for key, sizes in signature.shapes.items())


def _has_sizes(found: TensorInfo | None, sizes: Sequence[int | str]) -> bool:
    if found is None or len(found.shape) != len(sizes):
        return False
    return all(wanted in ("*", size) for wanted, size in zip(sizes, found.shape, strict=True))
