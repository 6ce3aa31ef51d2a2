"""How long it takes to read a model's header from files of different sizes: sparse, cached, with the same 2,515 tensors.

Usage: python benchmarks/headers.py [--times 30]
Goal: 5 ms for 7 GB, and no more for 20 GB than for 2 GB. For comparison: the same facts read with the safetensors library.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import platform
import statistics
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from trainer_core.models import header  # noqa: E402 - from this checkout, installed or not

TENSORS = 2515
SIZES_GB = (2, 7, 20)
GOAL_MS = 5.0
MOST_GROWTH = 1.5


def shapes(size_gb: int) -> dict[str, list[int]]:
    """As many tensors as an SDXL checkpoint has, with names of the same length, that fill a file of this size in F16."""
    width = math.isqrt(size_gb * 10**9 // 2 // TENSORS)
    return {
        f"model.diffusion_model.output_blocks.{index // 300}.1.transformer_blocks.{index % 10}.attn1.to_q.{index}.weight": [
            width,
            width,
        ]
        for index in range(TENSORS)
    }


def safetensors_file(path: Path, size_gb: int) -> Path:
    table, position = {}, 0
    for key, shape in shapes(size_gb).items():
        end = position + 2 * math.prod(shape)
        table[key] = {"dtype": "F16", "shape": shape, "data_offsets": [position, end]}
        position = end
    text = json.dumps(table, separators=(",", ":")).encode()
    return sparse(path, struct.pack("<Q", len(text)) + text, position)


def gguf_file(path: Path, size_gb: int) -> Path:
    start, position = b"GGUF" + struct.pack("<IQQ", 3, TENSORS, 0), 0
    for key, shape in shapes(size_gb).items():
        start += struct.pack("<Q", len(key)) + key.encode() + struct.pack("<IQQIQ", 2, *shape, 1, position)
        position += -(-2 * math.prod(shape) // 32) * 32
    return sparse(path, start + bytes(-len(start) % 32), position)


def sparse(path: Path, start: bytes, size_bytes: int) -> Path:
    with path.open("wb") as file:
        file.write(start)
        file.truncate(len(start) + size_bytes)
    return path


def pickle_file(path: Path) -> Path:
    """A torch archive with as many tensors; they share one storage, because its size does not matter here."""

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nHalfStorage\n" + text("0") + text("cpu")
        + b"K\x04tQK\x00K\x02K\x02\x86K\x02K\x01\x86\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip
    pickled = b"\x80\x02}(" + b"".join(text(key) + tensor for key in shapes(7)) + b"u."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", bytes(8))
    return path


def by_library(path: Path) -> None:
    """Reads names, shapes and dtypes with safetensors itself."""
    with safe_open(path, framework="numpy") as file:
        for key in file.keys():  # noqa: SIM118 - it is not a dictionary
            part = file.get_slice(key)
            part.get_shape()
            part.get_dtype()


def timed(action: Callable[[], object], times: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each run after a first one that fills the cache: wall time and CPU time."""
    action()
    clock, processor = [], []
    for _ in range(times):
        begun, spent = time.perf_counter(), time.process_time()
        action()
        clock.append(1000 * (time.perf_counter() - begun))
        processor.append(1000 * (time.process_time() - spent))
    return clock, processor


def main() -> int:
    parser = argparse.ArgumentParser(
        description="How long it takes to read a model's header from files of different sizes."
    )
    parser.add_argument("--times", type=int, default=30)
    times = parser.parse_args().times
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {times} times")
    medians = {}

    def show(name: str, action: Callable[[], object], count: int) -> None:
        clock, processor = timed(action, count)
        medians[name] = statistics.median(clock)
        print(
            f"{name:30} median {medians[name]:8.2f} ms   best {min(clock):8.2f} ms   worst {max(clock):8.2f} ms"
            f"   CPU {statistics.median(processor):8.2f} ms"
        )

    with tempfile.TemporaryDirectory() as folder:
        for size_gb in SIZES_GB:
            path = safetensors_file(Path(folder, f"{size_gb}.safetensors"), size_gb)
            show(f"safetensors, {size_gb} GB", lambda path=path: header.read(path), times)
        path = Path(folder, "7.safetensors")
        show("the safetensors library, 7 GB", lambda: by_library(path), min(times, 5))
        with path.open("rb") as file:
            text = file.read(8 + int.from_bytes(file.read(8), "little"))[:-8]
        show("its JSON only", lambda: json.load(io.BytesIO(text)), times)
        gguf = gguf_file(Path(folder, "7.gguf"), 7)
        show("GGUF, 7 GB", lambda: header.read(gguf), times)
        pickled = pickle_file(Path(folder, "model.ckpt"))
        show("pickle", lambda: header.read(pickled), times)
    seven = medians["safetensors, 7 GB"]
    growth = medians["safetensors, 20 GB"] / medians["safetensors, 2 GB"]
    ratio = medians["the safetensors library, 7 GB"] / seven
    print(f"The safetensors library takes {ratio:.1f} times as long for the same facts")
    print(f"20 GB takes {growth:.2f} times as long as 2 GB")
    return 1 if seven > GOAL_MS or growth > MOST_GROWTH else 0


if __name__ == "__main__":
    sys.exit(main())
