"""What can be done with a checkpoint that is only the trained part of a model, as some engines save between the steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core.models.families import load_families
from trainer_core.training.acceptance.result import section

PARTS = {"unet": "U-Net", "transformer": "transformer"}
"""The folders of the trained part in a diffusers model, and its name for people."""
# Source: ComfyUI, comfy/sd.py, load_diffusion_model_state_dict: it knows a U-Net with the names of diffusers.
COMFYUI = " ComfyUI loads its .safetensors file with “Load Diffusion Model”, beside the text encoders and the VAE of the base model."


def note(path: Path, plan: Mapping[str, Any]) -> str:
    """A sentence that a checkpoint is only a part, which one, and what for; "" for a whole model or a network."""
    if path.name not in PARTS or not path.is_dir() or (path / "model_index.json").is_file():
        return ""
    family = load_families().get(str(section(plan, "model").get("family", "")))
    whose = f" of {family.title}" if family else ""
    return (
        f"This checkpoint is only the trained part: the {PARTS[path.name]}{whose}, without text encoders and VAE. Image programs do not "
        f"load it as a whole model. In a copy of the base model's folder (diffusers), it replaces the folder {path.name}."
        f"{COMFYUI if path.name == 'unet' else ''} The final result of a completed run is a whole model."
    )
