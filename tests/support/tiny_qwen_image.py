"""Makes what a training of Qwen-Image on a CPU needs, with random weights. Run by the Python of the engine's own environment.

    python tiny_qwen_image.py models FOLDER          dit.safetensors with one block, and vae.safetensors
    python tiny_qwen_image.py captions RUN_FOLDER    the encoded captions of a run, in the format of the engine

The loaders build the VAE and the text encoder in their usual size only. A text encoder with 7 billion weights has no place here, so
the captions get random numbers in the place of what it would say of them.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

WIDTH = 3584
"""Of the outputs of Qwen2.5-VL 7B."""
TOKENS = 12


def _torch() -> tuple[Any, Any]:
    return importlib.import_module("torch"), importlib.import_module("safetensors.torch").save_file


def models(folder: Path) -> None:
    torch, save_file = _torch()
    engine = importlib.import_module
    qwen_image_utils = engine("musubi_tuner.qwen_image.qwen_image_utils")
    qwen_image_model = engine("musubi_tuner.qwen_image.qwen_image_model")
    vaes = engine("musubi_tuner.qwen_image.qwen_image_autoencoder_kl")
    torch.manual_seed(0)
    options: tuple[Any, ...] = ("torch", False, False, False, False, torch.bfloat16)
    model = qwen_image_model.create_model(*options, num_layers=1)
    weights = {name: (torch.randn(each.shape) * 0.02).to(torch.bfloat16) for name, each in model.state_dict().items()}
    save_file(weights, folder / "dit.safetensors")
    found = re.search(r'VAE_CONFIG_JSON = """(.*?)"""', inspect.getsource(qwen_image_utils.load_vae), re.DOTALL)
    assert found is not None
    config = {name: value for name, value in json.loads(found[1]).items() if not name.startswith("_")}
    vae = vaes.AutoencoderKLQwenImage(**config, input_channels=3)
    save_file({name: each.contiguous() for name, each in vae.state_dict().items()}, folder / "vae.safetensors")


def captions(run: Path) -> None:
    torch, save_file = _torch()
    torch.manual_seed(1)
    for file in sorted((run / "dataset").glob("*.txt")):
        target = run / "cache" / "dataset" / f"{file.stem}_qi_te.safetensors"
        if not target.exists():
            about = {"architecture": "qwen_image", "caption1": file.read_text().strip(), "format_version": "1.0.1"}
            save_file({"varlen_vl_embed_bfloat16": torch.randn(TOKENS, WIDTH).to(torch.bfloat16)}, target, about)


if __name__ == "__main__":
    {"models": models, "captions": captions}[sys.argv[1]](Path(sys.argv[2]))
