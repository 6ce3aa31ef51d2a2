"""What a model is, from its header alone: role, family, variant, what it predicts, and why."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainer_core.errors import AmbiguousModelError
from trainer_core.families import PREFIXES, ModelFamily, Signature, load_families, prefix_of
from trainer_core.header import Header
from trainer_core.text import printable

LORA_ENDINGS = (
    ".lora_down.weight", ".lora_up.weight", ".lora_A.weight", ".lora_B.weight", ".lora.down.weight", ".lora.up.weight",
    "_lora.down.weight", "_lora.up.weight", ".hada_w1_a", ".lokr_w1", ".lokr_w1_a", ".oft_blocks",
)  # fmt: skip
# The VAEs of LDM, FLUX, HunyuanImage and diffusers; then those of Wan and Qwen-Image in their original layout.
VAE_KEYS = (
    ("decoder.conv_in.weight", "encoder.conv_in.weight"),
    ("decoder.conv1.weight", "encoder.conv1.weight"),
)
VAE_PREFIXES = ("first_stage_model.", "vae.")
TEXT_ENCODER_KEYS = (
    "text_model.encoder.layers.0.mlp.fc1.weight",
    "encoder.block.0.layer.0.SelfAttention.k.weight",
    "transformer.resblocks.0.attn.in_proj_weight",
    "layers.0.self_attn.k_proj.weight",
)
TEXT_ENCODER_PREFIXES = ("cond_stage_model.", "conditioner.", "text_encoders.")
PART_PREFIXES = {
    "vae": VAE_PREFIXES,
    "clip_l": ("cond_stage_model.", "conditioner.embedders.0.", "text_encoders.clip_l."),
    "clip_g": ("conditioner.embedders.1.", "text_encoders.clip_g."),
    "t5xxl": ("text_encoders.t5xxl.",),
    "gemma2": ("text_encoders.gemma2",),
    "qwen": ("text_encoders.qwen",),
    "byt5": ("text_encoders.byt5",),
}
"""What files that hold their parts put in front of them. Source: ComfyUI, supported_models.py; Stability AI's own files."""

# Source: modelspec 1.0.1 says "epsilon" and "v"; diffusers' schedulers say "epsilon", "v_prediction", "flow_prediction".
PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction", "v_prediction": "v_prediction", "flow_prediction": "flow"}


@dataclass(frozen=True)
class Detection:
    """What a header says a model is.

    `role` is "checkpoint" (with text encoders and VAE), "diffusion_model", "lora", "vae", "text_encoder" or "unknown".
    `prediction` is "epsilon", "v_prediction", "flow" or None; it is certain where the file or its family says so, else
    only usual. `rejected` says of each other family why it is not that. `prefix` is what a file puts in front of the
    diffusion model's names, `parts` which of the files beside a model it holds itself; a folder holds all.
    """

    family: str | None
    role: str
    variant: str = ""
    prediction: str | None = None
    dtype: str = ""
    evidence: tuple[str, ...] = ()
    rejected: Mapping[str, str] = field(default_factory=dict)
    rank: int | None = None
    alpha: float | None = None
    is_prediction_certain: bool = False
    prefix: str = ""
    parts: tuple[str, ...] = ()


def detect(header: Header, families: Mapping[str, ModelFamily] | None = None) -> Detection:
    """What the model behind a header is; role "unknown" with the reasons when nothing known fits.

    Raises:
        AmbiguousModelError: more than one family fits.
    """
    families = load_families() if families is None else families
    matches: list[tuple[ModelFamily, Signature, tuple[str, ...]]] = []
    rejected: dict[str, str] = {}
    for family in families.values():
        found = [(family, signature, facts) for signature in family.signatures if (facts := _holds(signature, header))]
        matches += found
        if not found:
            rejected[family.id] = _refusal(family, header)
    if len(matches) > 1:
        names = " and ".join(f"{family.id} {signature.variant}".strip() for family, signature, _ in matches)
        raise AmbiguousModelError(
            f"The model fits {names}.", "Please report it with the output of: easel detect --json"
        )
    if not matches:
        return _other(header, families, rejected)
    family, signature, evidence = matches[0]
    prediction, is_certain, reason = _prediction(header, family)
    role, parts = _model_role(header)
    return Detection(
        family.id,
        role,
        signature.variant,
        prediction,
        _dtype(header),
        (*evidence, parts, reason),
        rejected,
        is_prediction_certain=is_certain,
        prefix=prefix_of(header) if header.format == "safetensors" else "",
        parts=_parts_inside(header),
    )


def _holds(signature: Signature, header: Header) -> tuple[str, ...]:
    """The sentences of a signature whose conditions all hold; empty when one does not."""
    sentences = []
    for holds, sentence in signature.check(header):
        if not holds:
            return ()
        sentences.append(sentence)
    return tuple(sentences)


def _refusal(family: ModelFamily, header: Header) -> str:
    """Why a header is not of a family: what it is instead, or the first failed condition of the nearest signature."""
    for other in family.lookalikes:
        if sentences := _holds(other, header):
            return f"it is {other.title}: {sentences[-1]}"
    nearest = (-1, "")
    for signature in family.signatures:
        for passed, (holds, sentence) in enumerate(signature.check(header)):
            if not holds:
                nearest = max(nearest, (passed, sentence), key=lambda pair: pair[0])
                break
    return nearest[1]


def _other(header: Header, families: Mapping[str, ModelFamily], rejected: Mapping[str, str]) -> Detection:
    """What a header is that fits no family."""
    keys = header.tensors if header.format == "safetensors" else {}
    dtype = _dtype(header)
    lora = next((key for key in keys if key.endswith(LORA_ENDINGS)), None)
    if lora is not None:
        rank, alpha = _lora_rank(header), _number(header.metadata.get("ss_network_alpha"))
        evidence = (f"has {printable(lora, 120)}", f"rank {rank or 'unknown'}")
        return Detection(None, "lora", "", None, dtype, evidence, rejected, rank, alpha)
    vae_key = _vae_key(header)
    if vae_key is not None and not _has_denoiser(header):
        return Detection(None, "vae", "", None, dtype, (f"has {vae_key} and no diffusion model",), rejected)
    text_key = next((key for key in keys if key.endswith(TEXT_ENCODER_KEYS)), None)
    if text_key is not None and not _has_denoiser(header):
        return Detection(None, "text_encoder", "", None, dtype, (f"has {printable(text_key, 120)}",), rejected)
    named = (rejected[name] for name in sorted(rejected) if rejected[name].startswith("it is "))
    reason = next(named, f"it fits none of {', '.join(sorted(families))}")
    return Detection(None, "unknown", "", None, dtype, (reason,), rejected)


def _vae_key(header: Header) -> str | None:
    """The first key of the layout of VAEs that a header has, if any."""
    for layout in VAE_KEYS:
        if any(all(prefix + key in header.tensors for key in layout) for prefix in ("", *VAE_PREFIXES)):
            return layout[0]
    return None


def _has_denoiser(header: Header) -> bool:
    starts = (*PREFIXES[:-1], "unet/", "transformer/")
    blocks = ("input_blocks.", "down_blocks.0.attentions", "double_blocks.", "joint_blocks.", "transformer_blocks.")
    return any(key.startswith((*starts, *blocks)) for key in header.tensors)


def _model_role(header: Header) -> tuple[str, str]:
    if header.format == "diffusers":
        return "checkpoint", "holds all its parts"
    has_vae = any(key.startswith(VAE_PREFIXES) for key in header.tensors)
    has_text = any(key.startswith(TEXT_ENCODER_PREFIXES) for key in header.tensors)
    if has_vae and has_text:
        return "checkpoint", "holds text encoders and VAE"
    lacking = " and ".join(name for name, there in (("text encoders", has_text), ("VAE", has_vae)) if not there)
    return "diffusion_model", f"holds no {lacking}"


def _parts_inside(header: Header) -> tuple[str, ...]:
    if header.format == "diffusers":
        return tuple(PART_PREFIXES)
    return tuple(
        part for part, starts in PART_PREFIXES.items() if any(key.startswith(starts) for key in header.tensors)
    )


def _prediction(header: Header, family: ModelFamily) -> tuple[str, bool, str]:
    """What the model predicts, whether that is certain, and the reason.

    A marker outranks a config, a config outranks metadata. What a flow family says is not asked: sd-scripts notes "epsilon"
    in all it saves but FLUX. Source: sd-scripts library/sai_model_spec.py, build_metadata_dataclass.
    """
    if family.prediction == "flow":
        return "flow", True, f"predicts flow: every {family.title} does"
    for key, prediction in family.markers.items():
        if key in header.tensors:
            extra = ", with zero terminal SNR (ztsnr)" if "ztsnr" in header.tensors else ""
            return prediction, True, f"predicts {prediction}: marked by {key}{extra}"
    said = header.configs.get("scheduler", {}).get("prediction_type")
    noted = header.metadata.get("modelspec.prediction_type")
    for value, where in ((said, "its scheduler"), (noted, "its metadata")):
        prediction = PREDICTIONS.get(value) if isinstance(value, str) else None
        if prediction is not None:
            return prediction, True, f"predicts {prediction}: said by {where}"
    usual = f"predicts {family.prediction}: usual for {family.title}, nothing in the file says otherwise"
    return family.prediction, False, "; ".join(filter(None, (usual, family.prediction_note)))


def _dtype(header: Header) -> str:
    """The number format that most weights have, as safetensors spells it."""
    sizes: Counter[str] = Counter()
    for info in header.tensors.values():
        sizes[info.dtype] += math.prod(info.shape)
    return sizes.most_common(1)[0][0] if sizes else ""


def _lora_rank(header: Header) -> int | None:
    """The rank most modules have: the first size of the factor next to the input."""
    downs = (".lora_down.weight", ".lora_A.weight", "lora.down.weight")
    ranks = Counter(info.shape[0] for key, info in header.tensors.items() if key.endswith(downs) and info.shape)
    return ranks.most_common(1)[0][0] if ranks else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
