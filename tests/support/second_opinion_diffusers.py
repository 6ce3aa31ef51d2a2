"""Writes the change of each layer as diffusers understands LoRAs: run by the Python of an engine that has diffusers.

Usage: second_opinion_diffusers.py (<family> <target.npz> <file>)...
"""

import sys
from types import SimpleNamespace

import numpy as np
import torch
from diffusers.loaders import lora_pipeline
from diffusers.utils import convert_unet_state_dict_to_peft
from safetensors.torch import load_file

MIXINS = {
    "sd15": "StableDiffusionLoraLoaderMixin", "sdxl": "StableDiffusionXLLoraLoaderMixin", "flux": "FluxLoraLoaderMixin",
    "sd3": "SD3LoraLoaderMixin", "lumina2": "Lumina2LoraLoaderMixin",
}  # fmt: skip


def write(family, target, source):
    mixin = getattr(lora_pipeline, MIXINS[family])
    tensors = {key: value.float() for key, value in load_file(source).items()}
    options = {"unet_config": SimpleNamespace(layers_per_block=2)} if family in ("sd15", "sdxl") else {}
    if family in ("sd15", "sdxl", "flux"):
        state, alphas = mixin.lora_state_dict(
            tensors, **options, **({"return_alphas": True} if family == "flux" else {})
        )
    else:
        state, alphas = mixin.lora_state_dict(tensors), None
    if family in ("sd15", "sdxl"):
        # As load_lora_adapter does next for a UNet.
        state, alphas = convert_unet_state_dict_to_peft(state), convert_unet_state_dict_to_peft(alphas or {})
    found, alphas = {}, alphas or {}
    for key in state:
        for up, down in ((".lora_B.weight", ".lora_A.weight"), (".lora.up.weight", ".lora.down.weight")):
            if key.endswith(up):
                name = key[: -len(up)]
                left, right = state[key].flatten(1), state[name + down].flatten(1)
                alpha = next((value for other, value in alphas.items() if other.startswith(f"{name}.")), len(right))
                found[name] = ((left @ right) * (float(alpha) / len(right))).numpy()
    assert found, list(state)[:5]
    np.savez(target, **found)


with torch.no_grad():
    words = iter(sys.argv[1:])
    for each in zip(words, words, words, strict=True):
        write(*each)
