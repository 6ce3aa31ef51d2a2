"""How much CPU time and memory a resizing and a merge by singular values take, beside sd-scripts, on the same LoRA of Stable Diffusion 1.5.

Usage: python benchmarks/resize_lora.py [--every 12] [--conv] [--alone] [--folder <scratch>]
Goals: a resizing from rank 32 to 8 takes 20 times less CPU than sd-scripts' resize_lora, a merge of two to rank 32 takes 10 times less than
its svd_merge_lora. sd-scripts takes minutes for all modules, so both tools get every 12th one by default; what each takes for its start (its
imports, measured with a LoRA of one small module) is told apart. `--conv` adds the convolutions of the UNet. `--alone` runs Easel only, with all modules.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from trainer_core.models.loaders import table  # noqa: E402 - from this checkout, installed or not

ENGINE = ROOT / "workspace" / "engines" / "kohya"
RANK = 32
WIDTHS = {
    "down_blocks.0": 320,
    "down_blocks.1": 640,
    "down_blocks.2": 1280,
    "mid_block": 1280,
    "up_blocks.1": 1280,
    "up_blocks.2": 640,
    "up_blocks.3": 320,
}
RESNETS = {
    "down_blocks.0": 320,
    "down_blocks.1": 640,
    "down_blocks.2": 1280,
    "down_blocks.3": 1280,
    "mid_block": 1280,
    "up_blocks.0": 1280,
    "up_blocks.1": 1280,
    "up_blocks.2": 640,
    "up_blocks.3": 320,
}


def modules(conv: bool) -> dict[str, tuple[int, ...]]:
    """The modules of a LoRA of sd-scripts for SD 1.5, with the shapes of their layers: 264, and the convolutions of the ResNet blocks."""
    found: dict[str, tuple[int, ...]] = {}
    for layer in table.layers("sd15", "diffusers"):
        start = next((each for each in WIDTHS if layer.startswith(each)), "")
        width = WIDTHS.get(start, 0)
        last = layer.rpartition("attn")[2]
        name = f"lora_unet_{layer.replace('.', '_')}"
        if "attn" in layer and "norm" not in layer:
            inputs = 768 if last.startswith(("2.to_k", "2.to_v")) else width
            found[name] = (width, inputs)
        elif layer.endswith("ff.net.0.proj"):
            found[name] = (8 * width, width)
        elif layer.endswith("ff.net.2"):
            found[name] = (width, 4 * width)
        elif layer.endswith(("proj_in", "proj_out")):
            found[name] = (width, width, 1, 1)
        elif conv and ".resnets." in layer and layer.endswith(("conv1", "conv2")):
            side = next(size for block, size in RESNETS.items() if layer.startswith(block))
            found[name] = (side, side, 3, 3)
    for number in range(12):
        for layer, shape in (
            *((f"self_attn_{each}", (768, 768)) for each in ("q_proj", "k_proj", "v_proj", "out_proj")),
            ("mlp_fc1", (3072, 768)),
            ("mlp_fc2", (768, 3072)),
        ):
            found[f"lora_te_text_model_encoder_layers_{number}_{layer}"] = shape
    return found


def write(path: Path, shapes: dict[str, tuple[int, ...]], seed: int) -> Path:
    """A LoRA in fp16 whose singular values fall off, as those of a trained one do."""
    random, tensors = np.random.default_rng(seed), {}
    weights = np.exp(-np.arange(RANK) / 6)
    for name, shape in shapes.items():
        ones = (1,) * len(shape[2:])
        tensors[f"{name}.lora_up.weight"] = (
            random.standard_normal((shape[0], RANK, *ones)) * weights.reshape(1, RANK, *ones) / math.sqrt(shape[0])
        ).astype(np.float16)
        down = random.standard_normal((RANK, *shape[1:])) / math.sqrt(math.prod(shape[1:]))
        tensors[f"{name}.lora_down.weight"] = down.astype(np.float16)
        tensors[f"{name}.alpha"] = np.array(RANK / 2, np.float16)
    save_file(tensors, path, {"ss_network_dim": str(RANK), "ss_network_alpha": str(RANK / 2), "ss_v2": "False"})
    return path


def measured(command: list[str], folder: Path) -> tuple[float, float]:
    """The CPU seconds of a command, and the most memory that it had, in GB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ENGINE / 'source'}", "PYTHONUTF8": "1"},
    )
    output, _ = process.communicate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(output.decode()[-3000:])
    # The largest of all children so far; each program is larger than those before it, or it is run alone.
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, after.ru_maxrss / 1e6


def easel(tool: str, settings: dict[str, object], folder: Path) -> tuple[float, float]:
    """As `measured`, for a tool of Easel's, without the supervisor of its job."""
    own = Path(tempfile.mkdtemp(dir=folder))
    (own / "settings.json").write_text(json.dumps(settings))
    return measured([sys.executable, "-P", "-m", f"trainer_core.tools.{tool}"], own)


def sd_scripts(script: str, *arguments: str, folder: Path) -> tuple[float, float]:
    """As `measured`, for a program of sd-scripts."""
    return measured(
        [str(ENGINE / "venv" / "bin" / "python"), str(ENGINE / "source" / "networks" / script), *arguments], folder
    )


def error(path: Path, wanted: dict[str, np.ndarray]) -> float:
    """The size of the difference to a wanted change, divided by the size of the change, over some modules."""
    tensors, lost, whole = load_file(path), 0.0, 0.0
    for name, change in wanted.items():
        lost += float(np.sum(np.square(change_of(tensors, name) - change)))
        whole += float(np.sum(np.square(change)))
    return math.sqrt(lost / whole)


def change_of(tensors: dict[str, np.ndarray], name: str) -> np.ndarray:
    up, down = (tensors[f"{name}.lora_{part}.weight"].astype(np.float64) for part in ("up", "down"))
    return up.reshape(len(up), -1) @ down.reshape(len(down), -1) * float(tensors[f"{name}.alpha"]) / len(down)


def told(
    what: str, ours: tuple[float, float], theirs: tuple[float, float], starts: tuple[float, float], goal: float
) -> None:
    work = (theirs[0] - starts[1]) / max(ours[0] - starts[0], 0.01)
    print(f"{what}: Easel {ours[0]:.2f} CPU-s, {ours[1]:.2f} GB; sd-scripts {theirs[0]:.2f} CPU-s, {theirs[1]:.2f} GB")
    print(f"  {theirs[0] / ours[0]:.1f} times less CPU with both starts, {work:.1f} times without them (goal {goal:g})")


def main() -> None:
    """Prints what each tool takes."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--every", type=int, default=12)
    options.add_argument("--conv", action="store_true")
    options.add_argument("--alone", action="store_true")
    options.add_argument("--folder", type=Path, default=None)
    chosen = options.parse_args()
    shapes = modules(chosen.conv)
    kept = shapes if chosen.alone else dict(list(shapes.items())[:: chosen.every])
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        first, second = (write(folder / f"{each}.safetensors", kept, seed) for seed, each in enumerate("ab"))
        print(
            f"{len(kept)} of {len(shapes)} modules, rank {RANK}, {first.stat().st_size / 1e6:.1f} MB; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        )
        small = write(folder / "small.safetensors", {"lora_unet_mid_block_attentions_0_proj_in": (64, 64)}, 0)
        start = easel(
            "lora_resize",
            {"file": str(small), "rank": 8, "family": "sd15", "target": str(folder / "s1.safetensors")},
            folder,
        )
        resized = easel(
            "lora_resize",
            {"file": str(first), "rank": 8, "family": "sd15", "target": str(folder / "r1.safetensors")},
            folder,
        )
        merged = easel(
            "lora_merge",
            {
                "files": [str(first), str(second)],
                "strengths": [0.6, 0.4],
                "method": "rank",
                "rank": RANK,
                "family": "sd15",
                "target": str(folder / "m1.safetensors"),
            },
            folder,
        )
        sample = list(kept)[:: max(len(kept) // 8, 1)]
        one, two = load_file(first), load_file(second)
        change = {each: change_of(one, each) for each in sample}
        both = {each: 0.6 * change[each] + 0.4 * change_of(two, each) for each in sample}
        print(
            f"Easel's start {start[0]:.2f} CPU-s; resizing {resized[0]:.2f} CPU-s, {resized[1]:.2f} GB, error {error(folder / 'r1.safetensors', change):.5f}; merge {merged[0]:.2f} CPU-s, {merged[1]:.2f} GB, error {error(folder / 'm1.safetensors', both):.5f}"
        )
        if chosen.alone:
            return
        precision = ("--save_precision", "fp16")
        theirs = sd_scripts(
            "resize_lora.py",
            "--model",
            str(small),
            "--save_to",
            str(folder / "s2.safetensors"),
            "--new_rank",
            "8",
            *precision,
            "--device",
            "cpu",
            folder=folder,
        )
        starts = (start[0], theirs[0])
        print(f"sd-scripts' start {theirs[0]:.2f} CPU-s, {theirs[1]:.2f} GB")
        other = sd_scripts(
            "resize_lora.py",
            "--model",
            str(first),
            "--save_to",
            str(folder / "r2.safetensors"),
            "--new_rank",
            "8",
            *precision,
            "--device",
            "cpu",
            folder=folder,
        )
        told("resizing 32 to 8", resized, other, starts, 20)
        print(f"  error of sd-scripts {error(folder / 'r2.safetensors', change):.5f}")
        other = sd_scripts(
            "svd_merge_lora.py",
            "--models",
            str(first),
            str(second),
            "--ratios",
            "0.6",
            "0.4",
            "--save_to",
            str(folder / "m2.safetensors"),
            "--new_rank",
            str(RANK),
            *precision,
            "--device",
            "cpu",
            folder=folder,
        )
        told(f"merge of two to rank {RANK}", merged, other, starts, 10)
        print(
            f"  error of sd-scripts {error(folder / 'm2.safetensors', both):.5f}: it cuts the largest numbers of its matrices off (CLAMP_QUANTILE)"
        )


if __name__ == "__main__":
    main()
