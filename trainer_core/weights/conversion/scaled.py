"""Weights in fp8 that are stored with a scale: which tensors these are, and which weights may be stored so.

Two spellings are read: `scale_weight` with the marker `scaled_fp8`, as ComfyUI wrote until 2025 and still reads, and
`weight_scale` with `_quantization_metadata` or `comfy_quant`, as it writes now. The first is written.
Source: ComfyUI comfy/ops.py, scaled_fp8_ops; comfy/model_detection.py, model_config_from_unet; comfy/quant_ops.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping

from trainer_core.errors import WeightsError
from trainer_core.models.header import Header, TensorInfo
from trainer_core.text import printable

ENDINGS = (".scale_weight", ".weight_scale")
BESIDE = (".scale_weight", ".weight_scale", ".scale_input", ".input_scale", ".comfy_quant")
"""The endings of what is stored beside a scaled weight."""
MARKER = "scaled_fp8"
METADATA = "_quantization_metadata"
FP8 = ("F8_E4M3", "F8_E5M2")
LARGEST = {"F8_E4M3": 448.0, "F8_E5M2": 57344.0}
"""The largest number of each dtype of 8 bits."""

# Source: sd-scripts library/hunyuan_image_models.py and anima_utils.py, FP8_OPTIMIZATION_TARGET_KEYS and
# FP8_OPTIMIZATION_EXCLUDE_KEYS: matrices in the numbered blocks, without norms, embeddings and what modulates the blocks.
_IN_BLOCK = re.compile(r"(?:^|\.)\d+\.")
_EXCLUDED = re.compile(r"norm|emb|adaln|final_layer|modulation|_mod\.|relative_attention_bias", re.IGNORECASE)


def scales(found: Header) -> dict[str, str]:
    """The scaled weights of a file, each with the name of its scale.

    Raises:
        WeightsError: a scale has a shape that Easel does not read, or its weight is missing or no fp8.
    """
    tensors, made = found.tensors, {}
    for name, info in tensors.items():
        ending = next((each for each in ENDINGS if name.endswith(each)), "")
        if not ending or info.dtype not in ("F32", "BF16", "F16"):
            continue
        weight = name.removesuffix(ending) + ".weight"
        other = tensors.get(weight)
        if other is None or other.dtype not in FP8:
            raise WeightsError(
                f"{printable(name, 120)} is a scale, but there is no weight in fp8 beside it.",
                "The file is quantised in a way that Easel does not read. Use the file from which it was made.",
            )
        if not _fits(info, other):
            raise WeightsError(
                f"The scale {printable(name, 120)} has the shape {list(info.shape)}: one for blocks of a weight.",
                "Easel reads one scale for a weight or for each of its rows. Use the file from which it was made.",
            )
        made[weight] = name
    packed = next((name for name in tensors if name.endswith((".weight_scale_inv", "._data", ".weight_scale_2"))), "")
    if packed:
        raise WeightsError(
            f"The weights are packed, as {printable(packed, 120)} shows.", "Use the file from which it was made."
        )
    return made


def is_beside(name: str) -> bool:
    """Whether a tensor is stored beside scaled weights, and means nothing without them."""
    return name.endswith(BESIDE) or name.rpartition(".")[2] == MARKER


def fits_fp8(name: str, shape: tuple[int, ...], others: Collection[str]) -> bool:
    """Whether a weight may be stored in fp8. `others` are the prefixes of parts that stay as they are."""
    if not name.endswith(".weight") or len(shape) != 2 or min(shape) < 2 or name.startswith(tuple(others)):
        return False
    return bool(_IN_BLOCK.search(name)) and not _EXCLUDED.search(name)


def _fits(scale: TensorInfo, weight: TensorInfo) -> bool:
    count = math.prod(scale.shape)
    return count == 1 or (scale.shape in ((weight.shape[0],), (weight.shape[0], 1)) and len(weight.shape) > 1)


def without(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata without what describes scaled weights."""
    return {key: text for key, text in metadata.items() if key != METADATA}
