"""Restores the plain names of weights that a library quantized and stored as several tensors each, to recognise the model."""

from __future__ import annotations

from dataclasses import replace

from trainer_core.models.header import Header

QUANTO = "optimum-quanto"
# Source: optimum-quanto tensor/weights/qbytes.py, WeightQBytesTensor, and nn/qmodule.py, QModuleMixin: "_data" and "_scale" of each
# weight, and two scales of activations. XLabs' fp8 files of FLUX.1 are stored like this.
DATA = ".weight._data"
SCALES = (".weight._scale", ".input_scale", ".output_scale")


def unpacked(header: Header) -> Header | None:
    """The header with plain weight names; None for a file that optimum-quanto did not quantize."""
    if not any(key.endswith(DATA) for key in header.tensors):
        return None
    tensors = {key.removesuffix("._data"): info for key, info in header.tensors.items() if not key.endswith(SCALES)}
    return replace(header, tensors=tensors)
