"""The content of a header: tensors with their dtypes and shapes, and text. Every file format is read into these types."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from trainer_core.models.header.shards import Shard
from trainer_core.text import printable

LARGEST_SIZE = 2**63
MOST_DIMENSIONS = 16

# Source: safetensors/src/tensor.rs, Dtype.
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip
"""The dtypes of safetensors, with the bits of one number."""

# Source: ggml/src/ggml.c, type_traits; ggml/src/ggml-common.h, the block_* structures.
GGML_BLOCKS = {
    "Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34), "Q8_1": (32, 36),
    "Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144), "Q5_K": (256, 176), "Q6_K": (256, 210), "Q8_K": (256, 292),
    "IQ2_XXS": (256, 66), "IQ2_XS": (256, 74), "IQ2_S": (256, 82), "IQ3_XXS": (256, 98), "IQ3_S": (256, 110),
    "IQ1_S": (256, 50), "IQ1_M": (256, 56), "IQ4_NL": (32, 18), "IQ4_XS": (256, 136),
    "TQ1_0": (256, 54), "TQ2_0": (256, 66), "MXFP4": (32, 17), "NVFP4": (64, 36), "Q1_0": (128, 18),
}  # fmt: skip
"""The quantised dtypes of GGUF: how many numbers share a block, and the bytes of the block."""

BLOCKS: Mapping[str, tuple[int, int]] = {
    **{dtype: (8, bits) for dtype, bits in BITS.items()},
    **GGML_BLOCKS,
    "C128": (1, 16),
}
"""Every dtype that a header may name: how many numbers take how many bytes."""


_VARIANT = re.compile(
    r"^(?:diffusion_pytorch_model|model|pytorch_model)(?:-\d{5}-of-\d{5})?\.(\w+)(?:-\d{5}-of-\d{5})?\.[a-z]+$"
)


class TensorInfo(NamedTuple):
    """One tensor: its dtype, its shape, and its start in the file (0 where that is unknown, as in a pickle).

    The dtype is spelt as in safetensors; a quantised one as in ggml ("Q4_K").
    """

    dtype: str
    shape: tuple[int, ...]
    start_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """The size of the tensor in the file, in bytes."""
        numbers, size_bytes = BLOCKS[self.dtype]
        return math.prod(self.shape) * size_bytes // numbers


@dataclass(frozen=True)
class Header:
    """A model's header.

    `format` is "safetensors", "gguf" or "pickle" for one file, "sharded" for several files with an index (the keys are
    those of one file), and "diffusers" for a folder with a model_index.json. In a diffusers folder each key is prefixed
    by its component ("unet/conv_in.weight"), and `configs` maps each component to its JSON config, and "" to
    model_index.json. A folder of one component has its config under "". `files` are the files with the weights. `shard` is
    set for a single file that is, by its name, one of several files of a model. `lacking` are the components with weights that a
    model_index.json lists and the folder does not have.
    """

    path: Path
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    format: str
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    shard: Shard | None = None
    lacking: tuple[str, ...] = ()

    @property
    def weight_variant(self) -> str:
        """The variant ("fp16") of the weights of a diffusers folder, if some component has no plain ones; else ""."""
        variants = (_VARIANT.search(file.name) for file in self.files) if self.is_folder else ()
        return next((found[1] for found in variants if found), "")

    @property
    def is_folder(self) -> bool:
        """Whether the keys are prefixed by the components of a diffusers folder."""
        return self.format == "diffusers"


def shown(path: Path | str) -> str:
    """The name of a file or folder in a form that is safe to show."""
    return printable(Path(path).name or str(path), 200)
