"""What baking a LoRA into a checkpoint, and extracting one, costs: CPU time and peak memory, beside sd-scripts in the same run.

Usage: python benchmarks/bake_lora.py [--model sd15|sdxl] [--folder FOLDER] [--sd-scripts CHECKOUT --sd-scripts-python PYTHON]
    [--extract]

A checkpoint in full size, fp16, with random weights and the recorded names, and a LoRA of rank 32 with the modules that sd-scripts
trains: 264 for Stable Diffusion 1.5, all linear layers for SDXL. Each program is a process of its own: its CPU time is that of the process and its children, its memory
the largest resident set, which counts mapped pages of the files. Easel's figure contains the SHA-256 of both inputs.

Goals: a fifth of the CPU time and a twelfth of the memory of sd-scripts' networks/merge_lora.py or sdxl_merge_lora.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support import recorded_headers  # noqa: E402 - from this checkout, installed or not
from trainer_core.models.header import TensorInfo  # noqa: E402
from trainer_core.tools import extract  # noqa: E402
from trainer_core.weights import writing  # noqa: E402
from trainer_core.weights.networks import naming  # noqa: E402
from trainer_core.weights.reading import Weights  # noqa: E402
from trainer_core.weights.writing import Entry  # noqa: E402

CPU_GOAL, MEMORY_GOAL = 5.0, 12.0
RANK = 32
SCRIPTS = {"sd15": "merge_lora.py", "sdxl": "sdxl_merge_lora.py"}
"""The script of sd-scripts that merges LoRAs into a checkpoint of each recorded model."""
MEASURE = """
import os, resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
open(sys.argv[1], "w").write(f"{used.ru_utime + used.ru_stime} {used.ru_maxrss * 1024}")
sys.exit(status)
"""
Figures = tuple[float, float, float]


def written(path: Path, tensors: Mapping[str, TensorInfo], seed: int, scale: float = 0.05) -> Path:
    """A file of these tensors in fp16, with random weights; alphas are 16."""
    random = np.random.default_rng(seed)
    some = (random.standard_normal(1 << 22) * scale).astype(np.float16)

    def numbers(count: int) -> Iterator[np.ndarray]:
        while count:
            start = int(random.integers(0, some.size // 2))
            part = some[start : start + min(count, some.size // 2)]
            count -= part.size
            yield part

    entries = []
    for key, info in tensors.items():
        if key.endswith(".alpha"):
            entries.append(Entry(key, "F16", (), lambda: [np.array([16], np.float16)]))
        else:
            count = TensorInfo("F16", info.shape).size_bytes // 2
            entries.append(Entry(key, "F16", info.shape, lambda count=count: numbers(count)))
    writing.write(path, entries, {}, lambda *_: None, lambda: None)
    return path


def lora_tensors(name: str, model: Path) -> Mapping[str, TensorInfo]:
    """The tensors of a LoRA for a model: as they were recorded, or for all layers that an extraction would compare."""
    if name == "sd15":
        return recorded_headers.recorded("lora-kohya-sd15").tensors
    found = {}
    for pair in extract.planned(extract.Settings(tuned=str(model), base=str(model), rank=RANK)).pairs:
        up, down = naming.ENDINGS[naming.SD_SCRIPTS]
        of_up, of_down = naming.shapes(pair.tuned, RANK)
        found[f"{pair.tuned.key}.alpha"] = TensorInfo("F16", ())
        found[pair.tuned.key + up], found[pair.tuned.key + down] = TensorInfo("F16", of_up), TensorInfo("F16", of_down)
    return found


def measured(command: Sequence[str | Path], folder: Path, **variables: str) -> Figures:
    """The CPU seconds, the wall seconds and the peak memory in bytes of a process and its children."""
    begun = time.monotonic()
    log, figures = folder / "log", folder / "figures"
    with log.open("wb") as out:
        # Linux counts the memory of what starts a process as its peak, so a small process starts it.
        small = (sys.executable, "-I", "-S", "-c", MEASURE, figures, *command)
        done = subprocess.run(
            list(map(str, small)),
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **variables},
            stdout=out,
            stderr=out,
            check=False,
            cwd=folder,
        )
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{log.read_text()[-3000:]}")
    cpu_s, memory = map(float, figures.read_text().split())
    return cpu_s, time.monotonic() - begun, memory


def easel(tool: str, folder: Path, **settings: object) -> Figures:
    """The program of one of Easel's jobs."""
    (folder / "settings.json").write_text(json.dumps(settings))
    return measured((sys.executable, "-m", f"trainer_core.tools.{tool}"), folder, PYTHONPATH=str(ROOT))


def largest_difference(one: Path, two: Path) -> float:
    """The largest relative difference of the tensors of two files, by the Frobenius norm."""
    worst = 0.0
    with Weights(one) as first, Weights(two) as second:
        for name in first.tensors:
            if name in second.tensors and name.startswith("model.diffusion_model."):
                own, other = first.floats(name), second.floats(name)
                worst = max(worst, float(np.linalg.norm(own - other) / (np.linalg.norm(own) or 1)))
    return worst


def shown(name: str, found: Figures) -> None:
    """Prints the figures of a program."""
    cpu_s, wall_s, memory = found
    print(f"{name:12} CPU {cpu_s:7.1f} s   wall {wall_s:7.1f} s   memory {memory / 1e9:5.2f} GB", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=SCRIPTS, default="sd15")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--sd-scripts", type=Path, help="absolute, as the Python")
    parser.add_argument("--sd-scripts-python", type=Path)
    parser.add_argument(
        "--precision", default="float", help="in which sd-scripts computes; float is its recommendation"
    )
    parser.add_argument("--extract", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        folder = Path(temporary)
        model = written(folder / "model.safetensors", recorded_headers.recorded(given.model).tensors, 1)
        lora = written(folder / "lora.safetensors", lora_tensors(given.model, model), 2, 0.01)
        print(f"{given.model}: {model.stat().st_size / 1e9:.2f} GB, load {os.getloadavg()[0]:.1f}", flush=True)
        ours = easel("bake", folder, model=str(model), networks=[str(lora)], target=str(folder / "easel.safetensors"))
        shown("Easel, bake", ours)
        good = True
        if given.sd_scripts:
            target = folder / "theirs.safetensors"
            script = given.sd_scripts / "networks" / SCRIPTS[given.model]
            arguments = ("--sd_model", model, "--models", lora, "--ratios", "1.0", "--save_to", target)
            command = (
                given.sd_scripts_python,
                script,
                *arguments,
                "--precision",
                given.precision,
                "--save_precision",
                "fp16",
            )
            theirs = measured(command, folder, PYTHONPATH=str(given.sd_scripts))
            shown("sd-scripts", theirs)
            ratios = theirs[0] / ours[0], theirs[2] / ours[2]
            difference = largest_difference(folder / "easel.safetensors", target)
            print(
                f"sd-scripts takes {ratios[0]:.1f} times the CPU and {ratios[1]:.1f} times the memory (goals {CPU_GOAL:g}, {MEMORY_GOAL:g})"
            )
            print(f"largest relative difference of the results: {difference:.2e}")
            good = ratios[0] >= CPU_GOAL and ratios[1] >= MEMORY_GOAL
        if given.extract:
            found = easel(
                "extract", folder, tuned=str(folder / "easel.safetensors"), base=str(model), rank=16, text=True,
                target=str(folder / "extracted.safetensors"),
            )  # fmt: skip
            shown("Easel, extract", found)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
