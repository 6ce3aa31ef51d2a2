"""Recorded headers of real layouts (tests/data/headers), and safetensors files written by hand around a header."""

from __future__ import annotations

import functools
import json
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.header_folding import unfold
from trainer_core.models.header import BITS, Header, TensorInfo

FOLDER = Path(__file__).parents[1] / "data" / "headers"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str) -> dict[str, Any]:
    """A recorded header: {"about", "family", "role", "metadata", "tensors": {key: (dtype, shape)}} and, for a diffusers
    folder, "configs"."""
    recorded = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    # A new dictionary each time, which tests may change.
    return recorded | {"tensors": dict(_tensors(name))}


def recorded(name: str, **changes: Any) -> Header:
    """A recorded header with other shapes ({"shapes": {key: shape}}), without keys ({"drop": ...}), or with metadata."""
    found = load(name)
    tensors = {key: TensorInfo(dtype, shape) for key, (dtype, shape) in found["tensors"].items()}
    for key, shape in changes.get("shapes", {}).items():
        tensors[key] = TensorInfo("F16", shape)
    tensors = {key: info for key, info in tensors.items() if not any(part in key for part in changes.get("drop", ()))}
    configs = found.get("configs", {})
    for component, values in changes.get("configs", {}).items():
        configs[component] = configs[component] | values
    kind = "diffusers" if configs else "safetensors"
    return Header(Path(name), tensors, found["metadata"] | changes.get("metadata", {}), kind, configs)


@functools.cache
def _tensors(name: str) -> Mapping[str, tuple[str, tuple[int, ...]]]:
    return dict(_leaves(json.loads((FOLDER / f"{name}.json").read_text("utf-8"))["tensors"]))


def _leaves(node: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, tuple[int, ...]]]]:
    for key, value in unfold(node):
        dtype, _, shape = value.partition(" ")
        yield key, (dtype, tuple(int(size) for size in shape.split("x") if size))


def file_bytes(table: Mapping[str, Any], data: bytes = b"") -> bytes:
    """A safetensors file with this header table in front of these bytes."""
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + data


def write_file(
    path: Path, tensors: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str] | None = None
) -> Path:
    """Writes a safetensors file of that layout whose weights are a hole in the file, so that 7 GB take no room."""
    table: dict[str, Any] = {"__metadata__": dict(metadata or {})}
    position = 0
    for key, (dtype, shape) in tensors.items():
        size = math.prod(shape) * BITS[dtype] // 8
        table[key] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    start = file_bytes(table)
    with path.open("wb") as file:
        file.write(start)
        file.truncate(len(start) + position)
    return path


def write(name: str, folder: Path, recorded: Mapping[str, Any] | None = None) -> Path:
    """Writes a recorded header as a real file or diffusers folder, and returns its path."""
    recorded = recorded or load(name)
    if "configs" not in recorded:
        return write_file(folder / f"{name}.safetensors", recorded["tensors"], recorded["metadata"])
    root = folder / name
    root.mkdir()
    (root / "model_index.json").write_text(json.dumps(recorded["configs"][""]))
    for component, config in recorded["configs"].items():
        if component:
            (root / component).mkdir()
            file = "scheduler_config.json" if component == "scheduler" else "config.json"
            (root / component / file).write_text(json.dumps(config))
    # Nor is everything recorded that the index lists.
    for component in recorded["configs"][""].keys() - recorded["configs"].keys():
        if isinstance(recorded["configs"][""][component], list) and recorded["configs"][""][component][1]:
            (root / component).mkdir()
            (root / component / "config.json").write_text("{}")
    own = {key.partition("/")[0] for key in recorded["tensors"]}
    # Of a component that was recorded without its weights, something stands for them: without any the folder is not complete.
    for component in recorded["configs"].keys() - own - {"", "scheduler"}:
        write_file(root / component / "diffusion_pytorch_model.safetensors", {"unrecorded": ("F16", (1,))})
    for component in own:
        stem = "model" if component.startswith("text_encoder") else "diffusion_pytorch_model"
        own = {
            key.partition("/")[2]: value
            for key, value in recorded["tensors"].items()
            if key.startswith(f"{component}/")
        }
        write_file(root / component / f"{stem}.safetensors", own)
    return root
