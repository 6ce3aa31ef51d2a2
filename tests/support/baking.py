"""Small models and LoRAs for the tests of baking, and the result as arrays."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np

from tests.support import network_files, small_models
from trainer_core.tools import bake
from trainer_core.tools.bake import Settings

Arrays = dict[str, np.ndarray]
QUIET = lambda line: None  # noqa: E731


def made(folder: Path, model: Path, *networks: Path, **changes: object) -> Arrays:
    """The tensors of the model with these networks baked in."""
    settings = Settings(model=str(model), networks=tuple(map(str, networks)), target=str(folder / "made.safetensors"))
    return small_models.read(bake.run(dataclasses.replace(settings, **changes), QUIET))


def loras(layers: dict[str, tuple[int, ...]], seed: int = 3) -> tuple[dict[str, Arrays], Arrays]:
    """A LoRA for layers of these shapes: its modules, and the change of each in float64."""
    random, modules, changes = np.random.default_rng(seed), {}, {}
    for name, shape in layers.items():
        up = (random.standard_normal((shape[0], 2)) * 0.2).astype(np.float16)
        down = (random.standard_normal((2, math.prod(shape[1:]))) * 0.2).astype(np.float16)
        modules[name] = {
            ".lora_up.weight": up.reshape(-1, 2, *(1,) * (len(shape) - 2)),
            ".lora_down.weight": down.reshape(2, *shape[1:]),
            ".alpha": np.array(1, np.float16),
        }
        changes[name] = (up.astype(np.float64) @ down.astype(np.float64) / 2).reshape(shape)
    return modules, changes


def write_pair(folder: Path, network: dict[str, Arrays], name: str = "sd15", **tensors: np.ndarray) -> Settings:
    """Settings for a small model and this network, both written."""
    own = small_models.arrays(name, 1) | {key.replace("__", "."): value for key, value in tensors.items()}
    model = small_models.write(folder / "model.safetensors", own)
    lora = network_files.write(folder / "lora.safetensors", network)
    return Settings(model=str(model), networks=(str(lora),), target=str(folder / "made"))
