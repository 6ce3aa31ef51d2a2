"""What a merge of two checkpoints costs beside the field's tools: CPU time and peak memory of each in one run, as ratios.

Usage: python benchmarks/merge_checkpoints.py [--model sd15] [--folder FOLDER] [--sd-scripts CHECKOUT --sd-scripts-python PYTHON]
    [--sd-mecha-python PYTHON] [--sparse]

Two checkpoints of full size in fp16, with random weights and the recorded names, are merged half and half. Each program is a
process of its own: its CPU time is that of the process and its children, its memory the largest resident set, which counts mapped
pages of the files. Easel's figure contains the SHA-256 of both inputs. With --sparse, a model of more than 30 GB that is a hole in a
file is merged into a sink that only counts.

Goals: half the CPU time and an eighth of the memory of sd-scripts, two thirds of the CPU time of sd-mecha, 1.5 GB for the large model.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support import recorded_headers  # noqa: E402 - from this checkout, installed or not
from trainer_core.weights import writing  # noqa: E402
from trainer_core.weights.reading import Place, Weights  # noqa: E402
from trainer_core.weights.writing import Entry  # noqa: E402

GOALS = {"sd-scripts": (2.0, 8.0), "sd-mecha": (1.5, 0.0)}
"""How many times the CPU time and the memory of Easel's merge a program takes at least."""
SPARSE_GOAL_BYTES = 1_500_000_000
MEASURE = """
import os, resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
open(sys.argv[1], "w").write(f"{used.ru_utime + used.ru_stime} {used.ru_maxrss * 1024}")
sys.exit(status)
"""
MECHA = """
import sys, torch, sd_mecha
a, b = sd_mecha.model(sys.argv[1]), sd_mecha.model(sys.argv[2])
sd_mecha.merge(sd_mecha.weighted_sum(a, b, alpha=0.5), output=sys.argv[3], merge_device="cpu", merge_dtype=torch.float32,
    output_device="cpu", output_dtype=torch.float16, threads=2)
"""


def checkpoint(path: Path, name: str, seed: int) -> Path:
    """A checkpoint with the names of a recorded header and random weights."""
    random = np.random.default_rng(seed)
    some = (random.standard_normal(1 << 22) * 0.05).astype(np.float16)

    def numbers(count: int) -> Iterator[np.ndarray]:
        while count:
            start = int(random.integers(0, some.size // 2))
            part = some[start : start + min(count, some.size // 2)]
            count -= part.size
            yield part

    tensors = recorded_headers.recorded(name).tensors
    entries = [
        Entry(key, "F16", info.shape, lambda info=info: numbers(info.size_bytes // 2)) for key, info in tensors.items()
    ]
    writing.write(path, entries, {}, lambda *_: None, lambda: None)
    return path


def measured(command: Sequence[str | Path], folder: Path, **variables: str) -> tuple[float, float, float]:
    """The CPU seconds, the wall seconds and the peak memory in bytes of a process and its children."""
    begun = time.monotonic()
    log, figures = folder / "log", folder / "figures"
    with log.open("wb") as out:
        # Linux counts the memory of what starts a process as its peak, so a small process starts it.
        small = (sys.executable, "-I", "-S", "-c", MEASURE, figures, *command)
        variables = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **variables}
        done = subprocess.run(list(map(str, small)), env=variables, stdout=out, stderr=out, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{log.read_text()[-3000:]}")
    cpu_s, memory = map(float, figures.read_text().split())
    return cpu_s, time.monotonic() - begun, memory


def easel(folder: Path, one: Path, two: Path, target: Path) -> tuple[float, float, float]:
    """A merge by the program of Easel's job."""
    settings = {"models": [str(one), str(two)], "target": str(target), "parameters": {"weight": 0.5}}
    (folder / "settings.json").write_text(json.dumps(settings))
    here = Path.cwd()
    os.chdir(folder)
    try:
        return measured((sys.executable, "-m", "trainer_core.tools.merge"), folder, PYTHONPATH=str(ROOT))
    finally:
        os.chdir(here)


def digests(path: Path) -> dict[str, bytes]:
    """The hash of the bytes of each tensor of a file."""
    with Weights(path) as found:
        return {name: hashlib.sha256(found.read(name).data.cast("B")).digest() for name in found.tensors}


def same_bits(one: dict[str, bytes], path: Path) -> tuple[int, int]:
    """How many tensors of two files have the same bytes, and how many there are."""
    other = digests(path)
    return sum(other.get(name) == digest for name, digest in one.items()), len(one)


class Counting:
    """A sink that only counts bytes."""

    size = 0

    def write(self, data: memoryview) -> None:
        self.size += len(data)

    def copy(self, place: Place, done: Callable[[int], None]) -> None:
        self.size += place.size
        done(place.size)


def sparse(folder: Path) -> None:
    """Merges two models of more than 30 GB, which are holes in files, into a counting sink; run in a process of its own."""
    from trainer_core.tools import merge
    from trainer_core.weights.merging.entries import Merge

    tensors = {
        key: ("F32" if key.startswith("double_blocks.") else "BF16", info.shape)
        for key, info in recorded_headers.recorded("flux-dev").tensors.items()
    }
    paths = [recorded_headers.write_file(folder / f"{name}.safetensors", tensors) for name in ("large-a", "large-b")]
    plan = merge.planned(merge.Settings(models=tuple(map(str, paths))))
    sink = Counting()
    with Merge(plan.headers, plan.match, plan.method, plan.choices, 0) as made:
        writing.write_to(sink, made.entries(), {}, lambda *_: None)
    print(f"{sink.size / 1e9:.1f} GB")


def shown(name: str, found: tuple[float, float, float], beside: tuple[float, float, float] | None) -> bool:
    """Prints the figures of a program, and whether it takes as much more than Easel's as the goal says."""
    cpu_s, wall_s, memory = found
    text = f"{name:12} CPU {cpu_s:7.1f} s   wall {wall_s:7.1f} s   memory {memory / 1e9:5.2f} GB"
    if beside is None:
        print(text)
        return True
    ratios = (cpu_s / beside[0], memory / beside[2])
    goals = GOALS[name]
    print(f"{text}   {ratios[0]:.1f} and {ratios[1]:.1f} times as much as Easel (goals {goals[0]:g} and {goals[1]:g})")
    return all(ratio >= goal for ratio, goal in zip(ratios, goals, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description="What a merge of two checkpoints costs beside the field's tools.")
    parser.add_argument("--model", default="sd15", help="a recorded header of tests/data/headers")
    parser.add_argument("--folder", type=Path, help="where the files go for the time of the run")
    parser.add_argument("--sd-scripts", type=Path, help="a checkout of sd-scripts")
    parser.add_argument("--sd-scripts-python", type=Path)
    parser.add_argument("--sd-mecha-python", type=Path)
    parser.add_argument("--sparse", action="store_true")
    parser.add_argument("--sparse-in", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.sparse_in:
        sparse(given.sparse_in)
        return 0
    print(f"numpy {np.__version__}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        folder = Path(scratch)
        if given.sparse:
            found = measured((sys.executable, Path(__file__), "--sparse-in", folder), folder)
            print((folder / "log").read_text().strip(), end=": ")
            shown("Easel", found, None)
            return 0 if found[2] <= SPARSE_GOAL_BYTES else 1
        return compared(given, folder)


def compared(given: argparse.Namespace, folder: Path) -> int:
    """Runs the merges one after another; returns the exit status."""
    one, two = (checkpoint(folder / f"{name}.safetensors", given.model, seed) for seed, name in enumerate("ab"))
    print(f"{given.model}: two files of {one.stat().st_size / 1e9:.2f} GB", flush=True)
    mine, ok = folder / "easel.safetensors", True
    own = easel(folder, one, two, mine)
    shown("Easel", own, None)
    # A large file is not kept while the others are written.
    mine_bits = digests(mine)
    mine.unlink()
    if given.sd_scripts:
        theirs = folder / "sd-scripts.safetensors"
        words = ["--models", one, two, "--ratios", "0.5", "0.5", "--saving_precision", "fp16", "--output", theirs]
        script = given.sd_scripts / "tools" / "merge_models.py"
        found = measured((given.sd_scripts_python, script, *words), folder, PYTHONPATH=str(given.sd_scripts))
        ok &= shown("sd-scripts", found, own)
        print("    tensors with the same bits: {} of {}".format(*same_bits(mine_bits, theirs)), flush=True)
        theirs.unlink()
    if given.sd_mecha_python:
        theirs = folder / "sd-mecha.safetensors"
        found = measured((given.sd_mecha_python, "-c", MECHA, one, two, theirs), folder)
        ok &= shown("sd-mecha", found, own)
        print("    tensors with the same bits: {} of {}".format(*same_bits(mine_bits, theirs)), flush=True)
        theirs.unlink()
    again = easel(folder, one, two, mine)
    shown("Easel again", again, None)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
