"""Headers of diffusion models, recorded ones and those that follow from them: other prefixes, number formats, parts beside."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support import recorded_headers
from tests.support.recorded_headers import recorded
from trainer_core.models.families import PREFIXES, Denoiser, load_families
from trainer_core.models.header import Header, TensorInfo

COMPONENTS = ("transformer/", "unet/", "prior/")
Tensors = Mapping[str, TensorInfo]


@functools.cache
def facts(name: str) -> tuple[str, str, bool]:
    """The family and the variant of a recorded header ("" where it records none), and whether its sizes are known."""
    found = recorded_headers.load(name)
    return found["family"] or "", found.get("variant", ""), "inferred" not in found["about"]


@functools.cache
def names() -> tuple[str, ...]:
    """The recorded headers of models."""
    return tuple(name for name in recorded_headers.NAMES if facts(name)[0])


@functools.cache
def bare(name: str) -> Header | None:
    """The diffusion model alone of a recorded header, without a prefix.

    None for a folder that is recorded without it, and for a small model made for a trial, which only its folder tells.
    """
    if "tiny" in name:
        return None
    found = recorded(name)
    denoiser = Denoiser.of(found)
    start = denoiser.prefix
    own = {key.removeprefix(start): info for key, info in found.tensors.items() if key.startswith(start)}
    if found.is_folder and not any(key.endswith(".weight") for key in own):
        return None
    return Header(Path(name), own, {}, "safetensors")


def trained(name: str) -> bool:
    """Whether the family of a recorded header is more than recognised."""
    return not load_families()[facts(name)[0]].is_only_recognised


def prefixed(found: Header, prefix: str) -> Header:
    """The same model with a prefix before each name."""
    return dataclasses.replace(found, tensors={prefix + key: info for key, info in found.tensors.items()})


def formats(found: Header) -> Iterator[tuple[str, Header]]:
    """The same model in each number format: how the tensors are then spelt follows from the rules of what writes them."""
    for dtype in ("F16", "BF16", "F32", "F8_E4M3"):
        tensors = {key: TensorInfo(dtype, info.shape) for key, info in found.tensors.items()}
        yield dtype, dataclasses.replace(found, tensors=tensors)
    yield "sharded", dataclasses.replace(found, format="sharded")
    quantised = {
        key: TensorInfo("Q4_K" if len(info.shape) == 2 else "F32", info.shape) for key, info in found.tensors.items()
    }
    yield "gguf", dataclasses.replace(found, tensors=quantised, format="gguf")
    yield "scaled_fp8", dataclasses.replace(found, tensors=_scaled(found.tensors))
    yield "comfy_quant", dataclasses.replace(found, tensors=_packed(found.tensors, "nvfp4"))
    yield "nf4", dataclasses.replace(found, tensors=_packed(found.tensors, "nf4"))


def _weights(tensors: Tensors) -> Iterator[tuple[str, TensorInfo]]:
    """The weights of linear layers, which are what is quantised."""
    return ((key, info) for key, info in tensors.items() if key.endswith(".weight") and len(info.shape) == 2)


def _scaled(tensors: Tensors) -> Tensors:
    """Source: ComfyUI comfy/model_detection.py, scaled_fp8; comfy/ops.py, scale_weight."""
    made = dict(tensors) | {"scaled_fp8": TensorInfo("F8_E4M3", (2,))}
    for key, info in _weights(tensors):
        made[key] = TensorInfo("F8_E4M3", info.shape)
        made[key.removesuffix("weight") + "scale_weight"] = TensorInfo("F32", ())
    return made


def _packed(tensors: Tensors, way: str) -> Tensors:
    """Source: bitsandbytes functional.py, QuantState.as_dict; ComfyUI comfy/quant_ops.py, TensorCoreNVFP4Layout."""
    made = dict(tensors)
    for key, info in _weights(tensors):
        numbers = math.prod(info.shape)
        if numbers % 64:
            continue
        if way == "nf4":
            made[key] = TensorInfo("U8", (numbers // 2, 1))
            made[f"{key}.absmax"] = TensorInfo("U8", (numbers // 64,))
            made[f"{key}.quant_map"] = TensorInfo("F32", (16,))
            made[f"{key}.quant_state.bitsandbytes__nf4"] = TensorInfo("U8", (80,))
        else:
            made[key] = TensorInfo("U8", (info.shape[0], info.shape[1] // 2))
            made[key.removesuffix("weight") + "comfy_quant"] = TensorInfo("U8", (24,))
    return made


def whole(found: Header) -> Header:
    """The same model with a text encoder and a VAE in one file."""
    parts = {"text_encoders.t5xxl.transformer.": "t5xxl", "vae.": "vae-flux"}
    tensors = dict(prefixed(found, PREFIXES[0]).tensors)
    for prefix, name in parts.items():
        tensors |= {prefix + key: info for key, info in recorded(name).tensors.items()}
    return dataclasses.replace(found, tensors=tensors)
