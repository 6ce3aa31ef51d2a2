"""Models, folders and embeddings as small as can be, as a training starts from them and ends with them, and plans for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.support import recorded_headers

Tensors = dict[str, np.ndarray]
DENOISER = "model.diffusion_model."
SD15_WORDS = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
SDXL_WORDS = (
    "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight",
    "conditioner.embedders.1.model.token_embedding.weight",
)


def noise(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.02, shape).astype(np.float32)


def blocks(number: int) -> Tensors:
    """What every model of this layout has, each as small as can be."""
    sides = [f"{side}_blocks.{index}.0.in_layers.2.weight" for side in ("input", "output") for index in range(number)]
    return {key: noise(4, 4, seed=place) for place, key in enumerate(("time_embed.0.weight", "out.2.weight", *sides))}


def sd15(prefix: str = DENOISER) -> Tensors:
    """As little as is known to be an SD1.5 checkpoint, with a few layers more."""
    denoiser = {
        **blocks(12),
        "input_blocks.0.0.weight": noise(320, 4, 3, 3),
        "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": noise(320, 768),
        "middle_block.1.transformer_blocks.0.attn2.to_k.weight": noise(8, 8),
        "output_blocks.11.1.proj_out.weight": noise(8, 8),
        **{f"middle_block.0.in_layers.{index}.weight": noise(4, 4, seed=index) for index in range(76)},
    }
    others = {"first_stage_model.decoder.conv_in.weight": noise(4, 4), SD15_WORDS: noise(50, 768)}
    return {f"{prefix}{key}": tensor for key, tensor in denoiser.items()} | others


def sdxl() -> Tensors:
    denoiser = {
        **blocks(9),
        "middle_block.1.transformer_blocks.9.attn2.to_k.weight": noise(8, 8),
        "input_blocks.0.0.weight": noise(320, 4, 3, 3),
        "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": noise(640, 2048),
        "input_blocks.8.1.transformer_blocks.9.attn2.to_k.weight": noise(8, 8),
        "label_emb.0.0.weight": noise(1280, 2816),
    }
    words = dict(zip(SDXL_WORDS, (noise(50, 768), noise(50, 1280)), strict=True))
    vae = {"first_stage_model.decoder.conv_in.weight": noise(4, 4)}
    return {f"{DENOISER}{key}": tensor for key, tensor in denoiser.items()} | words | vae


def trained(tensors: Tensors, by: float = 1e-3, part: str = DENOISER) -> Tensors:
    return {
        key: (tensor + by).astype(tensor.dtype) if key.startswith(part) else tensor for key, tensor in tensors.items()
    }


def in_format(tensors: Tensors, kind: type) -> Tensors:
    return {key: tensor.astype(kind) for key, tensor in tensors.items()}


def save_bf16(tensors: Tensors, path: Path) -> Path:
    """A file in the format that numpy does not know, rounded to nearest."""
    table, data = {}, b""
    for key, tensor in tensors.items():
        bits = tensor.astype("<f4").view("<u4")
        part = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
        table[key] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    path.write_bytes(recorded_headers.file_bytes(table, data))
    return path


def asked(base: Path | str, family: str = "sd15", method: str = "full", **memory: Any) -> dict[str, Any]:
    return {"model": {"method": method, "family": family, "path": str(base)}, "memory": memory}


FOLDER = {
    "model_index.json": {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]},
    "unet/config.json": {"in_channels": 4, "cross_attention_dim": 768},
}


def folder(path: Path, by: float = 0.0, shards: int = 2) -> Path:
    """A diffusers folder whose weights lie in several files."""
    (path / "unet").mkdir(parents=True)
    for name, content in FOLDER.items():
        (path / name).write_text(json.dumps(content))
    places = {}
    for index in range(shards):
        name = f"diffusion_pytorch_model-{index}.safetensors"
        save_file({f"block_{index}.weight": noise(4, 4) + np.float32(by)}, path / "unet" / name)
        places[f"block_{index}.weight"] = name
    index = path / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    return path


def words_of(tensors: Tensors, *, count: int = 3, by: float = 0.01) -> Tensors:
    """An SD1.5 embedding that started as one of a model's words."""
    start = np.tile(tensors[SD15_WORDS][7], (count, 1))
    return {"emb_params": (start + by * noise(count, 768, seed=9) / 0.02).astype(np.float32)}


def wanted(base: Path | str, family: str = "sd15", vectors: int = 3, init_word: str = "cat") -> dict[str, Any]:
    model = {"method": "textual_inversion", "family": family, "path": str(base)}
    return {"model": model, "embedding": {"vectors": vectors, "init_word": init_word}}
