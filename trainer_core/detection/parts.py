"""VAEs and text encoders: which a file is, and which a model holds."""

from __future__ import annotations

from trainer_core.detection.result import Detection
from trainer_core.families import PREFIXES
from trainer_core.header import Header
from trainer_core.text import printable

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


def has_denoiser(header: Header) -> bool:
    """Whether a header has blocks of a diffusion model, of a known family or not."""
    starts = (*PREFIXES[:-1], "unet/", "transformer/")
    blocks = ("input_blocks.", "down_blocks.0.attentions", "double_blocks.", "joint_blocks.", "transformer_blocks.")
    return any(key.startswith((*starts, *blocks)) for key in header.tensors)


def inside(header: Header) -> tuple[str, ...]:
    """The settings of the parts that a model holds itself."""
    if header.is_folder:
        return tuple(PART_PREFIXES)
    return tuple(
        part for part, starts in PART_PREFIXES.items() if any(key.startswith(starts) for key in header.tensors)
    )


def detect(header: Header) -> Detection | None:
    """The VAE or text encoder that a header is of; None for anything else."""
    if header.is_folder or has_denoiser(header):
        return None
    vae_key = _vae_key(header)
    if vae_key is not None:
        return Detection(None, "vae", evidence=(f"has {vae_key} and no diffusion model",))
    text_key = next((key for key in header.tensors if key.endswith(TEXT_ENCODER_KEYS)), None)
    if text_key is not None:
        return Detection(None, "text_encoder", evidence=(f"has {printable(text_key, 120)}",))
    return None


def _vae_key(header: Header) -> str | None:
    """The first key of the layout of VAEs that a header has, if any."""
    for layout in VAE_KEYS:
        if any(all(prefix + key in header.tensors for key in layout) for prefix in ("", *VAE_PREFIXES)):
            return layout[0]
    return None
