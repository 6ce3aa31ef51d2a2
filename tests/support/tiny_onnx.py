"""Tiny models in ONNX form with the inputs and outputs of real taggers, written without the package onnx.

A model multiplies each value of its input with a weight: so an image that was prepared in another way, with other channels,
scale, padding or layout, gives other probabilities.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

FLOAT = 1


def field(number: int, content: int | bytes) -> bytes:
    """A field of a protobuf message. Source: the protobuf encoding, and onnx/onnx.proto for the numbers below."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(field(1, field(2, each.encode()) if isinstance(each, str) else field(1, each)) for each in shape)
    return field(1, name.encode()) + field(2, field(1, field(1, FLOAT) + field(2, dims)))


def _tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(field(1, size) for size in values.shape)
    return dims + field(2, FLOAT) + field(8, name.encode()) + field(9, values.astype("<f4").tobytes())


def _node(kind: str, inputs: Sequence[str], output: str) -> bytes:
    return b"".join(field(1, name.encode()) for name in inputs) + field(2, output.encode()) + field(4, kind.encode())


def write(
    path: Path, weights: np.ndarray, bias: np.ndarray, shape: Sequence[int | str], outputs: Mapping[str, str]
) -> None:
    """Writes a model whose logits are the flattened input times `weights` plus `bias`.

    `outputs` has the names of the outputs, in order, each "logits", "sigmoid" of them, or "negative" logits.
    """
    nodes = [_node("Flatten", ["input"], "flat"), _node("Gemm", ["flat", "weights", "bias"], "values")]
    kinds = {"logits": "Identity", "sigmoid": "Sigmoid", "negative": "Neg"}
    nodes += [_node(kinds[kind], ["values"], name) for name, kind in outputs.items()]
    graph = b"".join(field(1, node) for node in nodes) + field(2, b"tiny")
    graph += field(5, _tensor("weights", weights)) + field(5, _tensor("bias", bias))
    graph += field(11, _value("input", shape))
    graph += b"".join(field(12, _value(name, [shape[0], weights.shape[1]])) for name in outputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(2, 13)))


def weights(side: int, layout: str, rows: Sequence[Mapping[tuple[int, int, int], float]]) -> np.ndarray:
    """The weights of tags, each by (y, x, place of the channel) in the input."""
    found = np.zeros((side, side, 3, len(rows)), "float32")
    for tag, row in enumerate(rows):
        for (y, x, channel), value in row.items():
            found[y, x, channel, tag] = value
    return (found if layout == "NHWC" else found.transpose(2, 0, 1, 3)).reshape(-1, len(rows))


def everywhere(side: int, channel: int, value: float) -> dict[tuple[int, int, int], float]:
    """The weights of the average of one channel, times `value`."""
    return {(y, x, channel): value / side**2 for y in range(side) for x in range(side)}


def labels_csv(names: Sequence[tuple[str, str]]) -> str:
    """A selected_tags.csv."""
    rows = "".join(f"{place},{name},{category},{100 - place}\n" for place, (name, category) in enumerate(names))
    return "tag_id,name,category,count\n" + rows


def labels_mapping(names: Sequence[tuple[str, str]]) -> str:
    """A tag_mapping.json."""
    return json.dumps({str(place): {"tag": name, "category": category} for place, (name, category) in enumerate(names)})


def labels_metadata(names: Sequence[tuple[str, str]]) -> str:
    """A metadata.json."""
    tables = {"idx_to_tag": {str(place): name for place, (name, _) in enumerate(names)}, "tag_to_category": dict(names)}
    return json.dumps({"dataset_info": {"tag_mapping": tables}})
