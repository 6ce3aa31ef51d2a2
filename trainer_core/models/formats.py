"""Which files are given to no engine, whatever it trains: pickles, and weights that were rounded or packed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer_core.models.detection import Detection

UNREAD = {
    "gguf": "It is a GGUF file: its weights are rounded to a few bits, and engines train on the weights they were made from.",
    "pickle": "It is a pickle, which can run code when an engine loads it. Convert it to safetensors first.",
    "sharded": "It is in several files, which engines read only inside a diffusers folder.",
}
"""Formats that Easel recognises and no engine is given."""
PACKED = ("U8", "I8")
"""Number formats of weights that are packed (nf4, int8). Source: bitsandbytes, functional.quantize_4bit stores them so."""


def unread(found: Detection) -> str:
    """The sentence why no engine is given a file of this format, model or part; "" when engines read it."""
    if found.format in UNREAD:
        return UNREAD[found.format]
    if found.packed_by:
        return f"Its weights were quantized by {found.packed_by}, and engines train on the weights they were made from."
    if found.scaled:
        return (
            "Its weights are scaled fp8, made for ComfyUI: an engine would leave out the scales and take other weights."
        )
    if found.dtype in PACKED:
        return "Its weights are packed to a few bits, and engines train on the weights they were made from."
    return ""
