"""What a conversion of a full-size checkpoint of Stable Diffusion 1.5 (2.1 GB, random weights) takes: CPU seconds and memory.

Usage: python benchmarks/convert_model.py [--python PYTHON] [--folder FOLDER]
For comparison, with the PYTHON of an environment with torch and safetensors: the same result by the usual few lines of torch.
Each is a process of its own, from its start to its end, with the hashes of the inputs that Easel records.
Goals: less memory than half a gigabyte, and no more CPU than torch for a copy.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support import recorded_headers  # noqa: E402 - from this checkout, installed or not
from trainer_core.weights import writing  # noqa: E402
from trainer_core.weights.writing import Entry  # noqa: E402

EASEL = "import json, sys; from trainer_core.tools import convert; convert.run(convert.Settings(**json.loads(sys.argv[1])), print)"
TO_BF16 = """
import sys, torch
from safetensors.torch import load_file, save_file
held = load_file(sys.argv[1])
save_file({name: tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor for name, tensor in held.items()}, sys.argv[2])
"""
FROM_CKPT = """
import sys, torch
from safetensors.torch import save_file
held = torch.load(sys.argv[1], map_location="cpu", weights_only=True)["state_dict"]
save_file({name: tensor.contiguous() for name, tensor in held.items()}, sys.argv[2])
"""


def numbers(count: int) -> Iterator[bytes]:
    random = np.random.default_rng(count)
    for start in range(0, count, 1 << 20):
        yield (random.standard_normal(min(1 << 20, count - start), np.float32) * 0.02).astype(np.float16).tobytes()


def model(path: Path) -> Path:
    """The checkpoint."""
    entries = []
    for name, (_, shape) in recorded_headers.load("sd15")["tensors"].items():
        count = int(np.prod(shape, dtype=np.int64))
        entries.append(Entry(name, "F16", shape, lambda count=count: numbers(count)))
    writing.write(path, entries, {}, lambda *_: None, lambda: None)
    return path


def measured(command: list[str]) -> tuple[float, float, float]:
    """CPU seconds, seconds, and the most memory in GB of a process."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)})
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[:3]} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime, time.monotonic() - started, used.ru_maxrss * 1024 / 1e9


def easel(source: Path, target: Path, **wanted: str) -> list[str]:
    return [sys.executable, "-c", EASEL, json.dumps({"files": [str(source)], "target": str(target), **wanted})]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", default="", help="the Python of an environment with torch and safetensors")
    parser.add_argument("--folder", default=None, help="where the files are made; they are removed")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        source, checkpoint = model(folder / "model.safetensors"), folder / "model.ckpt"
        rows = [("fp16 to ckpt, Easel", easel(source, checkpoint, form="checkpoint"), checkpoint)]
        made = folder / "made.safetensors"
        rows += [
            ("fp16 to bf16, Easel", easel(source, made, dtype="bf16"), made),
            ("fp16 to bf16, torch", [options.python, "-c", TO_BF16, str(source), str(made)], made),
            ("ckpt to safetensors, Easel", easel(checkpoint, made), made),
            ("ckpt to safetensors, torch", [options.python, "-c", FROM_CKPT, str(checkpoint), str(made)], made),
            ("fp16 to fp8, Easel", easel(source, made, dtype="fp8"), made),
        ]
        for title, command, target in rows:
            if not command[0]:
                continue
            cpu_s, wall_s, memory_gb = measured(command)
            print(f"{title:28} {cpu_s:6.1f} CPU-s {wall_s:6.1f} s {memory_gb:6.2f} GB of memory")
            if target != checkpoint:
                target.unlink()


if __name__ == "__main__":
    main()
