"""A diffusers folder of a tiny SDXL: it has every part, each as small as possible, with random weights.

It shows that an engine trains, in half a minute and with a gigabyte of memory; its images are noise. Standard library only:
names and shapes are written out instead of being read from modules.

Source: the folder that diffusers 0.42 and transformers 5.20 write for the same configuration, compared name by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer_core.demo import checkpoint
from trainer_core.demo.layouts import CONV, POINT, Tensor, clip_text, layer, transformer_blocks
from trainer_core.install import clip_tokenizer

TEXT_WIDTH = 32
CONTEXT = 2 * TEXT_WIDTH
UNET_WIDTHS, UNET_DEPTHS, TIME = (32, 64), (0, 2), 128
VAE_WIDTHS = (16, 16, 32, 32)
SIZE_NUMBERS, SIZE_WIDTH = 6, 8  # SDXL gets six numbers about size and crop, each as a vector of this width


def write(vocabulary: Path, folder: Path) -> Path:
    """The folder, filled with a complete pipeline; `vocabulary` is open_clip's file of CLIP merges."""
    parts: dict[str, tuple[str, dict[str, Any], Iterator[Tensor]]] = {
        "unet": ("diffusion_pytorch_model", _UNET, _unet()),
        "vae": ("diffusion_pytorch_model", _VAE, _vae()),
        "text_encoder": ("model", _text("CLIPTextModel"), clip_text("text_model.", TEXT_WIDTH, 3, 2)),
        "text_encoder_2": ("model", _text("CLIPTextModelWithProjection"), _projected_text()),
    }
    for name, (weights, configuration, tensors) in parts.items():
        _json(folder / name / "config.json", configuration)
        checkpoint.write_tensors(folder / name / f"{weights}.safetensors", list(tensors))
    _json(folder / "scheduler" / "scheduler_config.json", _SCHEDULER)
    clip_tokenizer.write(vocabulary, folder / "tokenizer")
    clip_tokenizer.write(vocabulary, folder / "tokenizer_2", padding="!")
    _json(folder / "model_index.json", _INDEX)
    return folder


def _projected_text() -> Iterator[Tensor]:
    yield from clip_text("text_model.", TEXT_WIDTH, 3, 2)
    yield "text_projection.weight", (TEXT_WIDTH, TEXT_WIDTH)


def _residual(name: str, inside: int, out: int, time: int = 0) -> Iterator[Tensor]:
    yield from layer(f"{name}.norm1", inside)
    yield from layer(f"{name}.conv1", out, inside, *CONV)
    if time:
        yield from layer(f"{name}.time_emb_proj", out, time)
    yield from layer(f"{name}.norm2", out)
    yield from layer(f"{name}.conv2", out, out, *CONV)
    if inside != out:
        yield from layer(f"{name}.conv_shortcut", out, inside, *POINT)


def _transformer(name: str, width: int, depth: int) -> Iterator[Tensor]:
    yield from layer(f"{name}.norm", width)
    yield from layer(f"{name}.proj_in", width, width)
    yield from transformer_blocks(name, width, depth, CONTEXT)
    yield from layer(f"{name}.proj_out", width, width)


def _unet() -> Iterator[Tensor]:
    low, high = UNET_WIDTHS
    depth = UNET_DEPTHS[1]
    yield from layer("conv_in", low, 4, *CONV)
    yield from layer("time_embedding.linear_1", TIME, low)
    yield from layer("time_embedding.linear_2", TIME, TIME)
    yield from layer("add_embedding.linear_1", TIME, SIZE_NUMBERS * SIZE_WIDTH + TEXT_WIDTH)
    yield from layer("add_embedding.linear_2", TIME, TIME)

    yield from _residual("down_blocks.0.resnets.0", low, low, TIME)
    yield from layer("down_blocks.0.downsamplers.0.conv", low, low, *CONV)
    yield from _residual("down_blocks.1.resnets.0", low, high, TIME)
    yield from _transformer("down_blocks.1.attentions.0", high, depth)

    yield from _residual("mid_block.resnets.0", high, high, TIME)
    yield from _transformer("mid_block.attentions.0", high, depth)
    yield from _residual("mid_block.resnets.1", high, high, TIME)

    for turn, skip in enumerate((high, low)):
        yield from _residual(f"up_blocks.0.resnets.{turn}", high + skip, high, TIME)
        yield from _transformer(f"up_blocks.0.attentions.{turn}", high, depth)
    yield from layer("up_blocks.0.upsamplers.0.conv", high, high, *CONV)
    for turn, inside in enumerate((high + low, low + low)):
        yield from _residual(f"up_blocks.1.resnets.{turn}", inside, low, TIME)
    yield from layer("conv_norm_out", low)
    yield from layer("conv_out", 4, low, *CONV)


def _vae() -> Iterator[Tensor]:
    last = VAE_WIDTHS[-1]
    yield from layer("encoder.conv_in", VAE_WIDTHS[0], 3, *CONV)
    width = VAE_WIDTHS[0]
    for level, out in enumerate(VAE_WIDTHS):
        yield from _residual(f"encoder.down_blocks.{level}.resnets.0", width, out)
        width = out
        if level < 3:
            yield from layer(f"encoder.down_blocks.{level}.downsamplers.0.conv", width, width, *CONV)
    yield from _vae_middle("encoder.mid_block", last)
    yield from layer("encoder.conv_norm_out", last)
    yield from layer("encoder.conv_out", 8, last, *CONV)
    yield from layer("quant_conv", 8, 8, *POINT)
    yield from layer("post_quant_conv", 4, 4, *POINT)

    yield from layer("decoder.conv_in", last, 4, *CONV)
    yield from _vae_middle("decoder.mid_block", last)
    for level, out in enumerate(reversed(VAE_WIDTHS)):
        for turn in range(2):
            yield from _residual(f"decoder.up_blocks.{level}.resnets.{turn}", width, out)
            width = out
        if level < 3:
            yield from layer(f"decoder.up_blocks.{level}.upsamplers.0.conv", width, width, *CONV)
    yield from layer("decoder.conv_norm_out", width)
    yield from layer("decoder.conv_out", 3, width, *CONV)


def _vae_middle(name: str, width: int) -> Iterator[Tensor]:
    yield from _residual(f"{name}.resnets.0", width, width)
    yield from layer(f"{name}.attentions.0.group_norm", width)
    for part in ("to_q", "to_k", "to_v", "to_out.0"):
        yield from layer(f"{name}.attentions.0.{part}", width, width)
    yield from _residual(f"{name}.resnets.1", width, width)


_UNET = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 1,
    "block_out_channels": UNET_WIDTHS,
    "norm_num_groups": 8,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "cross_attention_dim": CONTEXT,
    "attention_head_dim": [2, 4],
    "transformer_layers_per_block": [1, UNET_DEPTHS[1]],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": SIZE_WIDTH,
    "projection_class_embeddings_input_dim": SIZE_NUMBERS * SIZE_WIDTH + TEXT_WIDTH,
}
_VAE = {
    "_class_name": "AutoencoderKL",
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "sample_size": 64,
    "norm_num_groups": 8,
    "block_out_channels": VAE_WIDTHS,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 1,
    "scaling_factor": 0.13025,
    "force_upcast": False,
}
_SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
_INDEX = {
    "_class_name": "StableDiffusionXLPipeline",
    "force_zeros_for_empty_prompt": True,
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def _text(architecture: str) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": "clip_text_model",
        "vocab_size": 49408,
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 2 * TEXT_WIDTH,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
        "projection_dim": TEXT_WIDTH,
        "bos_token_id": 49406,
        "eos_token_id": 49407,
        "pad_token_id": 49407,
        "torch_dtype": "float16",
    }


def _json(file: Path, data: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
