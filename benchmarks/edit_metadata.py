"""How much CPU time and memory an edit of the metadata of a checkpoint takes: a new file of 2.1 GB with 1,130 tensors, and in place.

Usage: python benchmarks/edit_metadata.py [--size-gb 2.1] [--folder <scratch>]
Goal: at most 1 CPU second for 2 GB. The program of the job is run, without its supervisor. The data are random, so nothing is skipped as a hole.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TENSORS = 1130
GOAL_S = 1.0


def write(path: Path, size: int) -> Path:
    """A safetensors file of this size with random bytes."""
    each = size // TENSORS // 2 * 2
    table = {
        f"model.diffusion_model.layer.{number}.weight": {
            "dtype": "F16",
            "shape": [each // 2],
            "data_offsets": [number * each, (number + 1) * each],
        }
        for number in range(TENSORS)
    }
    text = json.dumps({"__metadata__": {"modelspec.title": "old"}, **table}).encode()
    text += b" " * (-len(text) % 8)
    piece = os.urandom(each)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _ in range(TENSORS):
            file.write(piece)
        os.fsync(file.fileno())
    return path


def measured(settings: dict[str, object], folder: Path) -> tuple[float, float, float]:
    """CPU seconds, seconds and GB of memory of the tool."""
    own = Path(tempfile.mkdtemp(dir=folder))
    (own / "settings.json").write_text(json.dumps(settings))
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(
        [sys.executable, "-P", "-m", "trainer_core.tools.lora_metadata"],
        cwd=own,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        time.monotonic() - started,
        after.ru_maxrss / 1e6,
    )


def main() -> None:
    """Prints what the edits take."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size-gb", type=float, default=2.1)
    options.add_argument("--folder", type=Path, default=None)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        path = write(folder / "a.safetensors", int(chosen.size_gb * 1e9))
        print(
            f"{path.stat().st_size / 1e9:.2f} GB; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; goal {GOAL_S:g} CPU-s"
        )
        values = {"modelspec.title": "new", "modelspec.author": "somebody"}
        target = folder / "b.safetensors"
        for what, settings in (("a new file", {"target": str(target)}), ("in place", {"in_place": True})):
            cpu, seconds, memory = measured({"file": str(path), "values": values, **settings}, folder)
            print(f"{what}: {cpu:.2f} CPU-s, {seconds:.1f} s, {memory:.2f} GB of memory")
            target.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
