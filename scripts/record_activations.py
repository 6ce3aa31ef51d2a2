"""Records trainer_core/estimate/activations.toml: memory and operations of one training step of the real model classes.

Run it with SimpleTuner's Python, which has the required packages. Nothing is downloaded and no weights are created:

    workspace/engines/simpletuner/venv/bin/python scripts/record_activations.py

Each model is built on the meta device with bf16 weights and takes a step on one image of 512 px and of 1024 px. The script
counts the peak of the bytes that are alive during the forward and backward pass, without weights and gradients, and the
operations of the forward pass. Attention is counted like the memory-efficient kernels: queries, keys, values and the result
are kept, the attention matrix is not.
"""

# Its imports come from the engine's environment.
# pyright: reportMissingImports=false, reportCallIssue=false

from __future__ import annotations

import math
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
from activation_models import (
    BF16,
    META,
    anima,
    auraflow,
    empty,
    ernie_image,
    flux2,
    hunyuan_image,
    kandinsky5_image,
    krea2,
    longcat_image,
    lumina2,
    packed,
    pixart,
    qwen_image,
    qwen_image21,
    sd3,
    sdxl,
    unet,
    z_image,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

FILE = Path(__file__).parents[1] / "trainer_core" / "estimate" / "activations.toml"
SIDES = (512, 1024)
LAYERS = ("to_q", "to_k", "to_v", "to_out", "ff", "proj_in", "proj_out", "attn", "mlp", "feed_forward")
"""Parts of the names of the layers that a LoRA changes."""


class Live(TorchDispatchMode):
    """Tracks how many bytes of new tensors are alive; tensors that share their storage count once."""

    def __init__(self, known: set[int]) -> None:
        super().__init__()
        self.known, self.holders, self.now, self.peak = known, Counter(), 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_flatten(result)[0]:
            if isinstance(tensor, torch.Tensor):
                self._follow(tensor)
        return result

    def _follow(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return
        if not self.holders[key]:
            self.now += size
            self.peak = max(self.peak, self.now)
        self.holders[key] += 1
        weakref.finalize(tensor, self._let_go, key, size)

    def _let_go(self, key: int, size: int) -> None:
        self.holders[key] -= 1
        if not self.holders[key]:
            self.now -= size


class Attention(torch.autograd.Function):
    """Attention with the memory use of a memory-efficient kernel: what it keeps for the backward pass."""

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any) -> Any:
        out = query.new_empty((*query.shape[:-1], value.shape[-1]))
        ctx.save_for_backward(query, key, value, out)
        return out

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        query, key, value, _out = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


OPERATIONS: Counter[str] = Counter()
"""The operations of the forward pass so far."""


def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> Any:
    """Replaces torch's scaled_dot_product_attention."""
    OPERATIONS["all"] += 4 * math.prod(query.shape[:-1]) * key.shape[-2] * query.shape[-1]
    return Attention.apply(query, key, value)


def counted(module: Any, _: Any, out: torch.Tensor) -> None:
    """Adds the operations of a layer: two for each weight and position."""
    OPERATIONS["all"] += 2 * out.numel() * math.prod(module.weight.shape[1:])


@contextmanager
def counting(model: torch.nn.Module) -> Iterator[None]:
    """Counts the operations of layers and attention."""
    kinds = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.Conv3d)
    hooks = [each.register_forward_hook(counted) for each in model.modules() if isinstance(each, kinds)]
    original = torch.nn.functional.scaled_dot_product_attention
    torch.nn.functional.scaled_dot_product_attention = attention
    try:
        yield
    finally:
        torch.nn.functional.scaled_dot_product_attention = original
        for hook in hooks:
            hook.remove()


def again(module: Any, *values: Any, **named: Any) -> Any:
    """Gradient checkpointing that accepts keyword arguments, which HunyuanImage uses and diffusers' own does not accept."""
    return torch.utils.checkpoint.checkpoint(module.__call__, *values, use_reentrant=False, **named)


def drop(weight: torch.Tensor) -> None:
    """Frees a gradient: the estimate counts gradients itself."""
    weight.grad = None


def step(model: Any, inputs: Callable[[], Mapping[str, Any]], network: bool, checkpointing: bool) -> tuple[int, int]:
    """(most bytes alive, operations of the forward pass) of one training step."""
    model.train()
    model.enable_gradient_checkpointing(again) if checkpointing else model.disable_gradient_checkpointing()
    for name, weight in model.named_parameters():
        weight.requires_grad_(not network or (weight.dim() > 1 and any(f".{part}" in name for part in LAYERS)))
    OPERATIONS.clear()
    live = Live({weight.untyped_storage()._cdata for weight in [*model.parameters(), *model.buffers()]})
    hooks = [each.register_post_accumulate_grad_hook(drop) for each in model.parameters() if each.requires_grad]
    with counting(model), live:
        result = model(**inputs(), return_dict=False)[0]
        forward = OPERATIONS["all"]
        result.float().pow(2).mean().backward()
    for hook in hooks:
        hook.remove()
    return live.peak, forward


MODELS: Mapping[str, tuple[Callable[[], Any], int]] = {
    "sd15": (lambda: unet(768, attention_head_dim=8), 8),
    "sd2": (lambda: unet(1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True), 8),
    "sdxl": (sdxl, 8),
    "sd3-medium": (lambda: sd3(24, 24), 16),
    "sd35-medium": (lambda: sd3(24, 24, dual_attention_layers=tuple(range(13)), qk_norm="rms_norm"), 16),
    "sd35-large": (lambda: sd3(38, 38, qk_norm="rms_norm"), 16),
    "flux": (
        lambda: packed(
            diffusers.FluxTransformer2DModel(guidance_embeds=True), 512, pooled_projections=(1, 768), guidance=(1,)
        ),
        16,
    ),
    "chroma": (lambda: packed(diffusers.ChromaTransformer2DModel(), 512), 16),
    "lumina2": (lumina2, 16),
    "hunyuan_image": (hunyuan_image, 32),
    "anima": (anima, 16),
    "flux2-dev": (lambda: flux2("flux2-dev"), 16),
    "flux2-klein-9b": (lambda: flux2("flux2-klein-9b"), 16),
    "flux2-klein-4b": (lambda: flux2("flux2-klein-4b"), 16),
    "qwen_image": (qwen_image, 16),
    "qwen_image21": (qwen_image21, 16),
    "krea2": (krea2, 16),
    "z_image": (z_image, 16),
    "pixart-sigma": (lambda: pixart("pixart-sigma"), 16),
    "pixart-900m": (lambda: pixart("pixart-900m"), 16),
    "kandinsky5_image": (kandinsky5_image, 16),
    "auraflow": (lambda: auraflow(120), 16),
    "pony-v7": (lambda: auraflow(768), 16),
    "ernie_image": (ernie_image, 16),
    "longcat_image": (longcat_image, 16),
}
"""The models, and how many pixels one position of the model has on each side."""


def fitted(low: float, high: float, places: tuple[int, int]) -> list[int]:
    """[base, slope], so that base + slope * positions matches both measurements."""
    slope = (high - low) / (places[1] - places[0])
    return [round(low - slope * places[0]), round(slope)]


def row(name: str) -> Iterator[str]:
    """The table of one model as lines of TOML."""
    build, patch = MODELS[name]
    with META:
        torch.set_default_dtype(BF16)
        model, inputs = build()
    places = tuple((side // patch) ** 2 for side in SIDES)
    yield f"[{name}]"
    yield f"pixels = {patch}"
    flops: list[int] = []
    for network in (True, False):
        for checkpointing in (True, False):
            measured = []
            for side in SIDES:

                def prepared(side: int = side) -> Mapping[str, Any]:
                    with META:
                        return inputs(side)

                with META:
                    bytes_alive, forward = step(model, prepared, network, checkpointing)
                measured.append(bytes_alive)
                flops.append(forward)
            key = f"{'network' if network else 'model'}_{'checkpointed' if checkpointing else 'kept'}"
            yield f"{key} = {fitted(*measured, places)}  # {', '.join(f'{each / 2**30:.2f}' for each in measured)} GiB"
    at = dict(zip(places, flops, strict=False))
    yield f"operations = {[at[place] for place in places]}"
    yield ""


VAES: Mapping[str, Callable[[], Any]] = {
    "vae_sd": lambda: _kl(latent_channels=4),
    "vae_flux": lambda: _kl(latent_channels=16, use_quant_conv=False, use_post_quant_conv=False),
    "vae_hunyuan": lambda: diffusers.AutoencoderKLHunyuanImage(
        in_channels=3, out_channels=3, latent_channels=64, block_out_channels=(128, 256, 512, 512, 1024, 1024),
        layers_per_block=2, spatial_compression_ratio=32, sample_size=384,
    ),
    "vae_qwen": diffusers.AutoencoderKLQwenImage,
    "vae_qwen21": diffusers.AutoencoderKLQwenImage21,
    "vae_flux2": diffusers.AutoencoderKLFlux2,
}  # fmt: skip
"""Source of the numbers: the models' vae/config.json; diffusers scripts/convert_hunyuan_image_to_diffusers.py."""


def _kl(**config: Any) -> Any:
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    return diffusers.AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2, **blocks, **config)


def vae_row(name: str) -> Iterator[str]:
    """The table of one VAE: bytes alive in 16 bits and operations per pixel, for encoding and for decoding."""
    with META:
        torch.set_default_dtype(BF16)
        model = VAES[name]()
    yield f"[{name}]"
    side, film = 512, (1,) if name in ("vae_qwen", "vae_qwen21") else ()
    colours = 4 if name == "vae_qwen21" else 3  # with transparency
    model.requires_grad_(False)
    latent: Any = None
    for kind in ("encode", "decode"):
        OPERATIONS.clear()
        known = {weight.untyped_storage()._cdata for weight in [*model.parameters(), *model.buffers()]}
        live = Live(known)
        with META, torch.no_grad(), counting(model), live:
            if kind == "encode":
                latent = model.encode(empty(1, colours, *film, side, side)).latent_dist.mode()
            else:
                model.decode(latent)
        yield f"{kind} = {round(live.peak / side**2)}"
        yield f"{kind}_operations = {round(OPERATIONS['all'] / side**2)}"
    yield ""


HEAD = """\
# The memory of a step on one image without weights and gradients, in bytes at 16 bits per number: [base, per position]; a
# position is `pixels` wide and high. `operations` are of a forward pass at 512 and 1024 px. VAEs: bytes and operations per pixel.
# Written by scripts/record_activations.py from the real model classes, without weights; not edited by hand.

"""


if __name__ == "__main__":
    chosen = sys.argv[1:] or [*MODELS, *VAES]
    lines = [line for name in chosen for line in (row(name) if name in MODELS else vae_row(name))]
    if sys.argv[1:]:
        print("\n".join(lines))
    else:
        FILE.write_text(HEAD + "\n".join(lines), encoding="utf-8")
