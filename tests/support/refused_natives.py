"""Native settings with a Problem, and what the scripts of sd-scripts do with them if they are started anyway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.refused_plans import CACHED_CAPTIONS, Refused

ARGUMENTS = "network_args"
CACHED = {"memory__cache_text_encoder": True}
SWAPPED = {"memory__blocks_to_swap": 4}
OFFLOADED = {"memory__offload_checkpointing": True}
PREDICTS_V = {"model__prediction": "v_prediction"}
SHIFTED = {"schedule__flow_shift": 2.0}
FREE = {"optimizer__name": "AdamWScheduleFree", "schedule__scheduler": "constant"}
FUSED = {"optimizer__name": "Adafactor", "memory__fused_backward": True}
UNSLOTH = {"unsloth_offload_checkpointing": True}
ADAPTS = {"optimizer__name": "Prodigy", "optimizer__learning_rate": 1.0}


def network(algorithm: str) -> dict[str, Any]:
    return {"network__algorithm": algorithm}


ROWS: tuple[tuple[str, str, Mapping[str, Any], Mapping[str, Any], str], ...] = (
    ("sd15", "lora", {"adaptive_noise_scale": 0.1}, {}, "adaptive_noise_scale requires noise_offset"),
    ("sd15", "lora", {"scale_v_pred_loss_like_noise_pred": True}, {}, "can be enabled only with v_parameterization"),
    ("sd15", "lora", {"v_pred_like_loss": 0.5}, PREDICTS_V, "v_pred_like_loss cannot be enabled with"),
    ("sd15", "lora", {"min_bucket_reso": 256}, {}, "min_bucket_reso must be equal or less than resolution"),
    ("sd15", "lora", {"max_bucket_reso": 64}, {}, "max_bucket_reso must be equal or greater than resolution"),
    ("sd15", "lora", {"xformers": True}, {}, "No xformers"),
    ("sd15", "lora", {"deepspeed": True}, {}, "SystemExit"),
    ("sd15", "lora", {"resize_interpolation": "finest"}, {}, "is not a valid interpolation"),
    ("sd15", "lora", {"masked_loss": True}, {}, ""),
    ("sd15", "lora", {"face_crop_aug_range": "1"}, {}, "face_crop_aug_range must be two floats"),
    ("sd15", "lora", {"persistent_data_loader_workers": True}, {}, "persistent_workers option needs num_workers > 0"),
    ("sd15", "lora", {"fp8_base_unet": True}, {"memory__mixed_precision": "no"}, "fp8_base requires mixed precision"),
    ("sd15", "textual_inversion", {"use_style_template": True, "use_object_template": True}, {}, ""),
    ("sd15", "lora", {ARGUMENTS: ["block_dims=4,4"]}, {}, "block_dims must have 25 elements"),
    ("sd15", "lora", {ARGUMENTS: ["loraplus_lr_ratio"]}, {}, "not enough values to unpack"),
    ("sd15", "lora", {ARGUMENTS: ["lora_plus=4"]}, {}, ""),
    ("sd15", "lora", {ARGUMENTS: ["loraplus_lr_ratio=many"]}, {}, "could not convert string to float"),
    ("sd15", "lora", {ARGUMENTS: ["down_lr_weight=0.5"]}, {}, "not enough arguments for format string"),
    ("sdxl", "lora", {ARGUMENTS: ["up_lr_weight=0,0,0,0.1,0.5,1,1,1,1"]}, {"network__algorithm": "lora_fa"}, ""),
    ("sd15", "lora", {ARGUMENTS: ["unbalanced_factorization=True"]}, {"network__algorithm": "loha"}, ""),
    ("sd15", "lora", {ARGUMENTS: ["loraplus_text_encoder_lr_ratio=4"]}, {}, ""),
    ("flux", "lora", {ARGUMENTS: ["train_double_block_indices=0-19"]}, {}, "invalid end index: 19"),
    ("flux", "lora", {ARGUMENTS: ["split_qkv=true"]}, {}, ""),
    ("flux", "lora", {ARGUMENTS: ["train_t5xxl=True"]}, {}, ""),
    ("hunyuan_image", "lora", {ARGUMENTS: ["ggpo_beta=0.01"]}, {}, ""),
    ("anima", "lora", {ARGUMENTS: ["exclude_patterns=.*attn.*"]}, {}, "invalid syntax"),
    ("anima", "lora", {ARGUMENTS: ["network_reg_lrs=blocks:1e-4"]}, {}, ""),
    ("flux", "lora", {ARGUMENTS: ["train_blocks=middle"]}, {}, "invalid train_blocks"),
    ("lumina2", "lora", {ARGUMENTS: ["train_blocks=middle"]}, {}, "invalid train_blocks"),
    ("flux", "full", {"blockwise_fused_optimizers": True}, FREE, "Schedule-free optimizer is not supported"),
    ("flux", "full", {"blockwise_fused_optimizers": True}, FUSED, ""),
    ("sdxl", "full", {"fused_optimizer_groups": 4}, FUSED, ""),
    ("sdxl", "full", {"block_lr": "1e-4,1e-5"}, {}, "block_lr must have 23 values"),
    ("sd3", "full", {"train_t5xxl": True}, {}, "when training T5XXL, text encoder (CLIP-L/G) must be trained"),
    ("sdxl", "lora", {"enable_wildcard": True}, CACHED, ""),
    ("sdxl", "lora", {"token_warmup_step": 5.0}, CACHED, CACHED_CAPTIONS),
    ("sdxl", "lora", {"caption_dropout_every_n_epochs": 2}, CACHED, ""),
    ("sdxl", "full", {"weighted_captions": True}, CACHED, "weighted_captions is not supported when caching"),
    ("flux", "lora", {ARGUMENTS: ["train_t5xxl=True"]}, CACHED, "T5XXL is trained"),
    ("sd3", "lora", {ARGUMENTS: ["train_t5xxl=True"]}, CACHED, "T5XXL is trained"),
    ("chroma", "lora", {"apply_t5_attn_mask": False}, {}, "apply_t5_attn_mask must be True for Chroma"),
    ("anima", "lora", UNSLOTH, SWAPPED, "blocks_to_swap is not supported with unsloth_offload_checkpointing"),
    ("anima", "full", UNSLOTH, OFFLOADED, "Cannot use both --unsloth_offload_checkpointing"),
    ("anima", "lora", {"attn_mode": "sageattn"}, {}, ""),
    ("anima", "lora", {"timestep_sampling": "sigmoid"}, SHIFTED, ""),
    ("sd15", "lora", {"scale_weight_norms": 1.0}, network("dylora"), ""),
    ("sd15", "lora", {"scale_weight_norms": 1.0}, network("glora"), ""),
    ("sd15", "lora", {ARGUMENTS: ["bypass_mode=true"]}, network("full"), "bypass mode is not supported in Full algo"),
    ("sd15", "lora", {ARGUMENTS: ["bypass_mode=true"]}, network("dora"), ""),
    ("sd15", "lora", {ARGUMENTS: ["loraplus_lr_ratio=4"]}, network("lokr"), ""),
    ("sd15", "lora", {"max_bucket_reso": 2048, "bucket_no_upscale": True}, {}, ""),
    ("sd15", "lora", {"min_bucket_reso": 64}, {"dataset__bucket_step": 128}, "integer division or modulo by zero"),
    ("sd15", "lora", {ARGUMENTS: ["loraplus_lr_ratio=4"]}, ADAPTS, ""),
    ("sd15", "lora", {ARGUMENTS: ["down_lr_weight=0,0,0,0,0,0,0,0.5,1,1,1,1"]}, ADAPTS, ""),
    ("flux", "lora", {ARGUMENTS: ["network_reg_lrs=single_blocks=0.5"]}, ADAPTS, ""),
)
"""Family, method, the native setting, values of the plan, and the error of the engine ("": it accepts the setting)."""


def cases() -> dict[str, Refused]:
    """The cases by a descriptive name."""
    found = {}
    for family, method, native, values, message in ROWS:
        name, value = next(iter(native.items()))
        suffix = "".join(f", {path} = {given}" for path, given in values.items())
        found[f"{family}, {method}: {name} = {value}{suffix}"] = Refused(
            family, method, values, f"native.kohya.{name}", "stops" if message else "accepts", message, native=native
        )
    return found
