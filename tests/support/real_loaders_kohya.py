"""What sd-scripts' own loaders do with model files. Run by that engine's own Python; no test imports it.

    python real_loaders_kohya.py '{"sources": "/engine/source", "files": [["flux.vae", "/models/ae.safetensors"]]}'

The last line of the output is a JSON list, for each file "" when the loader filled every weight, else what happened. A weight
that a loader leaves empty is on torch's device "meta", and the training stops when it is moved to the GPU.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Callable
from typing import Any


def main() -> None:
    """Print what each loader says."""
    task = json.loads(sys.argv[1])
    sys.path.insert(0, task["sources"])
    logging.disable(logging.CRITICAL)
    loaders = _loaders()
    print(json.dumps([_said(loaders[what], path) for what, path in task["files"]]))


def _loaders() -> dict[str, Callable[[str], Any]]:
    """By family and setting, as load_target_model of the family's script calls them."""
    torch = importlib.import_module("torch")
    names = ("flux_utils", "hunyuan_image_vae", "lumina_util", "model_util", "qwen_image_autoencoder_kl", "sd3_utils")
    flux_utils, hunyuan_image_vae, lumina_util, model_util, qwen_image_vae, sd3_utils = (
        importlib.import_module(f"library.{name}") for name in names
    )
    load_safetensors = importlib.import_module("library.safetensors_utils").load_safetensors
    bf16 = torch.bfloat16
    return {
        "sd15.vae": lambda path: model_util.load_vae(path, torch.float32),
        "sdxl.vae": lambda path: model_util.load_vae(path, torch.float32),
        "sd3.vae": lambda path: sd3_utils.load_vae(path, bf16, "cpu"),
        "sd3.clip_l": lambda path: sd3_utils.load_clip_l(path, bf16, "cpu"),
        "sd3.clip_g": lambda path: sd3_utils.load_clip_g(path, bf16, "cpu"),
        "flux.vae": lambda path: flux_utils.load_ae(path, bf16, "cpu"),
        "flux.clip_l": lambda path: flux_utils.load_clip_l(path, bf16, "cpu"),
        "flux.t5xxl": lambda path: flux_utils.load_t5xxl(path, bf16, "cpu"),
        "flux.path": lambda path: flux_utils.load_flow_model(path, bf16, "cpu")[1],
        "chroma.path": lambda path: flux_utils.load_flow_model(path, bf16, "cpu", model_type="chroma")[1],
        "sd3.path": lambda path: sd3_utils.load_mmdit(load_safetensors(path, "cpu", dtype=bf16), bf16, "cpu"),
        "lumina2.vae": lambda path: lumina_util.load_ae(path, bf16, "cpu"),
        "lumina2.gemma2": lambda path: lumina_util.load_gemma2(path, bf16, "cpu"),
        "lumina2.path": lambda path: lumina_util.load_lumina_model(path, bf16, torch.device("cpu")),
        "hunyuan_image.vae": lambda path: hunyuan_image_vae.load_vae(path, torch.device("cpu")),
        "anima.vae": qwen_image_vae.load_vae,
    }


def _said(load: Callable[[str], Any], path: str) -> str:
    try:
        model = load(path)
    except (KeyError, RuntimeError, ValueError, OSError) as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    empty = sum(weight.is_meta for weight in model.parameters())
    return f"{empty} weights are empty" if empty else ""


if __name__ == "__main__":
    main()
