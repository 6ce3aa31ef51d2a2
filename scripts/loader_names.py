"""The layers of each family in the names of its original code and of diffusers, from the recorded headers (tests/data/headers)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.header_folding import unfold

ROOT = Path(__file__).resolve().parents[1]
HEADERS = ROOT / "tests" / "data" / "headers"

# By family: the header with the names of the original code, and the diffusers folder. Other variants follow in VARIANTS.
FAMILIES = {
    "sd15": ("sd15", "folder-sd15"),
    "sd2": ("sd2", "folder-sd21"),
    "sdxl": ("sdxl", "folder-sdxl"),
    "sd3": ("sd35-large", "folder-sd35-large"),
    "flux": ("flux-dev", "folder-flux-dev"),
    "chroma": ("chroma", "folder-chroma"),
    "lumina2": ("lumina2", "folder-lumina2"),
    "hunyuan_image": ("hunyuan-image", "folder-hunyuan-image"),
    "anima": ("anima", "folder-anima"),
    "flux2": ("flux2-dev", "folder-flux2-dev"),
    "z_image": ("z-image", "folder-z-image"),
    "qwen_image": ("", "folder-qwen-image"),
    "qwen_image21": ("", "folder-qwen-image21"),
    "krea2": ("krea2", "folder-krea2"),
    "pixart": ("", "folder-pixart-900m"),
    "kandinsky5_image": ("", "folder-kandinsky5-image"),
    "longcat_image": ("", "folder-longcat-image-6b"),
    "ernie_image": ("", "folder-ernie-image"),
    "auraflow": ("auraflow", "folder-auraflow"),
}
"""The first is "" where the original code has the names of diffusers, or no trainer of Easel writes its names."""
VARIANTS = {"sd3": ("sd35-medium", "sd3-medium"), "flux2": ("flux2-klein-9b", "flux2-klein-4b")}
"""More headers of a family, for layers that only they have."""
VARIANT_FOLDERS = {
    "sd3": ("folder-sd35-medium", "folder-sd3"),
    "flux2": ("folder-flux2-klein-9b", "folder-flux2-klein-4b"),
}
"""The diffusers folders of more variants."""
ALSO = {"sd3": {"dual_attention_layers": list(range(13))}}
"""Configuration of a variant with more layers: SD3.5 medium has a second attention in the first blocks."""
OTHER_MODELS: Mapping[str, Mapping[str, Any]] = {
    "anima": {
        "_class_name": "CosmosTransformer3DModel", "in_channels": 16, "out_channels": 16, "num_attention_heads": 16,
        "attention_head_dim": 128, "num_layers": 28, "mlp_ratio": 4.0, "text_embed_dim": 1024, "adaln_lora_dim": 256,
        "max_size": [128, 240, 240], "patch_size": [1, 2, 2], "rope_scale": [1.0, 4.0, 4.0],
    },
}  # fmt: skip
"""The denoiser of diffusers where the recorded folder is that of SimpleTuner. Source: diffusers modular_pipelines/anima."""
COMFYUI_LAYERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "hunyuan_image": (
        ("_mod.linear", "_mod.lin"), ("_attn_qkv", "_attn.qkv"), ("_attn_proj", "_attn.proj"), ("mlp.fc1", "mlp.0"), ("mlp.fc2", "mlp.2"),
        (".modulation.linear", ".modulation.lin"),
    ),
}  # fmt: skip
"""ComfyUI's own names of layers, where it renames those of the original code when it opens a model, and knows its own ones only.
Source: comfy/supported_models.py, HunyuanVideo.process_unet_state_dict."""
LORA_MIXINS = {"AnimaPipeline": "AnimaLoraLoaderMixin"}
"""A loader of networks for a model that has no pipeline class of its own in diffusers (it is modular)."""
# By text encoder of a family: its prefix in a ComfyUI model, the component in diffusers, the header, and its part there.
ENCODERS = {
    "sd15": {"clip_l": ("text_encoder", "clip-l")},
    "sd2": {"clip_h": ("text_encoder", "clip-g")},
    "sdxl": {"clip_l": ("text_encoder", "clip-l"), "clip_g": ("text_encoder_2", "clip-g")},
    "sd3": {
        "clip_l": ("text_encoder", "clip-l"),
        "clip_g": ("text_encoder_2", "clip-g"),
        "t5xxl": ("text_encoder_3", "t5xxl"),
    },
    "flux": {"clip_l": ("text_encoder", "clip-l"), "t5xxl": ("text_encoder_2", "t5xxl")},
    "chroma": {"t5xxl": ("text_encoder", "t5xxl")},
    "lumina2": {"gemma2_2b": ("text_encoder", "gemma2-2b")},
    "anima": {"qwen3_06b": ("text_encoder", "qwen3-06b")},
}
# Source: config.json of openai/clip-vit-large-patch14 and of laion/CLIP-ViT-bigG-14-laion2B-39B-b160k.
TEXT_CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "clip_l": {
        "architectures": ["CLIPTextModel"],
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "projection_dim": 768,
    },
    "clip_g": {
        "architectures": ["CLIPTextModelWithProjection"],
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_attention_heads": 20,
        "num_hidden_layers": 32,
        "projection_dim": 1280,
    },
}


def recorded(name: str) -> dict[str, Any]:
    """A recorded header."""
    return json.loads((HEADERS / f"{name}.json").read_text("utf-8"))


def sizes(tensors: Mapping[str, Any], prefix: str = "") -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors below a prefix."""
    shapes = {key: value.partition(" ")[2] for key, value in unfold(tensors)}
    found = {key: tuple(int(size) for size in text.split("x") if size) for key, text in shapes.items()}
    return {key.removeprefix(prefix): shape for key, shape in found.items() if key.startswith(prefix)}


def layers(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The layers that a network can change, with the shape of their weight."""
    return {key.removesuffix(".weight"): shape for key, shape in shapes.items() if key.endswith(".weight")}


def originals(family: str) -> dict[str, tuple[int, ...]]:
    """The layers of a denoiser in the names of its original code, those of all variants."""
    found: dict[str, tuple[int, ...]] = {}
    for header in (FAMILIES[family][0], *VARIANTS.get(family, ())):
        if not header:
            continue
        found = {**original(header), **found}
    return found


def original(header: str) -> dict[str, tuple[int, ...]]:
    """The layers of a denoiser in a recorded header of its original code."""
    shapes = sizes(recorded(header)["tensors"])
    for prefix in ("model.diffusion_model.", "net.", "model."):
        if any(key.startswith(prefix) for key in shapes):
            shapes = {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)}
    return layers(shapes)


def component(family: str) -> str:
    """The component of a diffusers folder that is trained."""
    return "unet" if "unet" in recorded(FAMILIES[family][1])["configs"] else "transformer"


def in_diffusers(family: str) -> dict[str, tuple[int, ...]]:
    """The layers of a denoiser in the names of diffusers, those of all variants."""
    found: dict[str, tuple[int, ...]] = {}
    for header in (
        FAMILIES[family][1],
        *(f"folder-{name}" for name in VARIANTS.get(family, ()) if name != "sd3-medium"),
    ):
        found = {**layers(sizes(recorded(header)["tensors"], f"{component(family)}/")), **found}
    return found


def encoder(header: str, place: str = "") -> dict[str, tuple[int, ...]]:
    """The layers of a text encoder in the names of transformers. OpenCLIP-H has the names of CLIP-G, and 24 of its 32 blocks."""
    found = layers(sizes(recorded(header)["tensors"]))
    deep = re.compile(r"\.layers\.(2[4-9]|3\d)\.")
    return {layer: shape for layer, shape in found.items() if place != "clip_h" or not deep.search(f".{layer}.")}
