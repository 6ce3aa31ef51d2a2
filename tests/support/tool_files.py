"""Small real files for the notebooks of tools: checkpoints of SD 1.5 and SDXL, and LoRAs that fit them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support import small_loras, small_models

METADATA = {
    "modelspec.title": "Elena",
    "modelspec.trigger_phrase": "elenavr",
    "ss_base_model_version": "sd_v1-5",
    "ss_network_module": "networks.lora",
    "ss_network_dim": "8",
    "ss_network_alpha": "4",
    "ss_learning_rate": "0.0001",
    "ss_num_train_images": "24",
    "ss_epoch": "10",
    "ss_tag_frequency": json.dumps({"10_elenavr": {"elenavr": 24, "woman": 22, "red hair": 20}}),
    "ss_dataset_dirs": json.dumps({"10_elenavr": {"n_repeats": 10, "img_count": 24}}),
}


def checkpoints(folder: Path) -> dict[str, Path]:
    """Two finetunes of one small SD 1.5, that base itself, and a small SDXL, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    base = small_models.arrays("sd15", 1)
    tensors = {
        "sd15-base": base,
        "anime": small_models.near(base, 2),
        "photo": small_models.near(base, 3),
        "xl": small_models.arrays("sdxl", 4),
    }
    return {name: small_models.write(folder / f"{name}.safetensors", each) for name, each in tensors.items()}


def loras(folder: Path) -> dict[str, Path]:
    """Two LoRAs for SD 1.5 of different rank, and one for SDXL, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    sd15 = small_loras.layers("unet-sd15-diffusers", every=5, divisor=1)
    made = {
        "elena": small_loras.lora(sd15, seed=1, rank=8, alpha=4.0),
        "ink": small_loras.lora(sd15, seed=2, rank=4),
        "xl-style": small_loras.lora(small_loras.layers("sdxl", every=40, divisor=1), seed=3),
    }
    return {
        name: small_loras.write(folder / f"{name}.safetensors", each, METADATA if name == "elena" else {})
        for name, each in made.items()
    }


def fitting_lora(folder: Path) -> Path:
    """A LoRA whose layers have the shapes of the small checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = small_models.shapes("sd15")
    prefix = "model.diffusion_model."
    layers = {
        key.removeprefix(prefix).removesuffix(".weight"): shape
        for key, shape in shapes.items()
        if key.startswith(prefix) and key.endswith(("attn1.to_q.weight", "attn1.to_v.weight"))
    }
    return small_loras.write(folder / "fitting.safetensors", small_loras.lora(layers, seed=4, rank=2))
