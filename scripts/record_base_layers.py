"""Writes trainer_core/models/detection/base_layers.json: the layers of each family, by which a LoRA's base model is found.

The layers follow from the recorded headers in tests/data/headers, which come from the real classes. Run it with Easel's Python:

    .venv/bin/python scripts/record_base_layers.py

`tests/core/test_bases.py` fails when the file differs from the output of this script.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support import recorded_headers, recorded_models
from trainer_core.models.detection import bases
from trainer_core.models.families import Denoiser

FILE = Path(bases.__file__).with_name("base_layers.json")
FEW = 3
"""Numbered parts up to this count are the places of a layer, such as the two of a feed-forward network, and not blocks."""


TOGETHER = {
    ("to_q", "to_k", "to_v"): ("qkv", "to_qkv"),
    ("add_q_proj", "add_k_proj", "add_v_proj"): ("added_qkv", "to_added_qkv"),
    ("attn_to_q", "attn_to_k", "attn_to_v", "proj_mlp"): ("qkv_mlp",),
}
"""Layers with the same inputs that programs join, and the names of the joined layer.

Source: diffusers models/attention_processor.py, Attention.fuse_projections; OneTrainer modules/model/*Model.py, fusion_groups.
"""


def table() -> dict[str, dict[str, dict[str, object]]]:
    """The layers and block counts of each family, over all its recorded headers."""
    found: dict[str, tuple[dict[str, set[tuple[int, int]]], dict[str, int]]] = {}
    for name in recorded_models.names():
        sizes, counts = found.setdefault(recorded_models.facts(name)[0], ({}, {}))
        own: dict[str, set[tuple[int, int]]] = {}
        for layer in _layers(name):
            own.setdefault(layer.name, set()).add((layer.inputs or 0, layer.outputs or 0))
            for stack, number in layer.numbers:
                counts[stack] = max(counts.get(stack, 0), number + 1)
        for place, pairs in (*own.items(), *_joined(own)):
            sizes.setdefault(place, set()).update(pairs)
    return {
        family: {
            "layers": {
                name: " ".join(f"{one}>{other}" for one, other in sorted(sizes[name])) for name in sorted(sizes)
            },
            "blocks": {stack: count for stack, count in sorted(counts.items()) if count > FEW},
        }
        for family, (sizes, counts) in sorted(found.items())
    }


def _joined(own: Mapping[str, set[tuple[int, int]]]) -> Iterator[tuple[str, set[tuple[int, int]]]]:
    """The layers that programs make of several layers of a model."""
    for parts, names in TOGETHER.items():
        for first in [name for name in own if name.endswith(f"_{parts[0]}")]:
            place = first.removesuffix(parts[0])
            found = [own.get(place + part, set()) for part in parts]
            inputs = {one for pairs in found for one, _ in pairs}
            if all(len(pairs) == 1 for pairs in found) and len(inputs) == 1:
                outputs = sum(other for pairs in found for _, other in pairs)
                yield from ((place + name, {(min(inputs), outputs)}) for name in names)


def _layers(name: str) -> Iterator[bases.Layer]:
    """The layers of a recorded diffusion model that a network can change: all weights with two or more dimensions."""
    if "tiny" in name:
        return
    header = recorded_headers.recorded(name)
    prefix = Denoiser.of(header).prefix
    for key, info in header.tensors.items():
        if key.startswith(prefix) and key.endswith(".weight") and len(info.shape) > 1:
            module = key.removeprefix(prefix).removesuffix(".weight")
            yield bases.layer(f"diffusion_model.{module}", info.shape[1], info.shape[0])


def text() -> str:
    """The file, with one layer a line."""
    return json.dumps(table(), indent=0, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
    print(f"{FILE}: {FILE.stat().st_size} bytes")
