"""What holds for every tool that computes a new model file: its outlook needs no numpy, and a disk that is too small leaves no file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import small_loras, small_models
from trainer_core.errors import WeightsError
from trainer_core.files import from_table
from trainer_core.weights import writing

LAYERS = {
    f"down_blocks.1.attentions.0.transformer_blocks.0.attn1.{name}": (256, 256) for name in ("to_q", "to_k", "to_v")
}
OUTLOOK = """
import importlib, json, os, sys
from trainer_core.files import from_table
from trainer_core.errors import WeightsError
wanted = json.loads(sys.argv[1])
for name in ("check_weights", "lora_inspect", "rename", "scrub"):
    importlib.import_module(f"trainer_core.tools.{name}")
for name, table in wanted.items():
    if not os.fork():
        tool = importlib.import_module(name)
        made = tool.outlook(from_table(tool.Settings, table, name, WeightsError))
        print(json.dumps([name, made.tensors, sorted({"numpy", "ml_dtypes", "torch"} & sys.modules.keys())]), flush=True)
        os._exit(0)
    os.wait()
"""


def modules() -> list[str]:
    """The modules of the kinds of job that say what they will make."""
    kinds = entry_points(group="trainer_core.job_kinds")
    return sorted(each.module for each in kinds if hasattr(import_module(each.module), "outlook"))


def lora(folder: Path, name: str, seed: int, rank: int = 8) -> str:
    tensors = small_loras.lora(LAYERS, rank=rank, seed=seed, kind=np.float32)
    return str(small_loras.write(folder / f"{name}.safetensors", tensors))


def model(folder: Path, name: str, seed: int) -> str:
    base = small_models.arrays("sd15", 1)
    return str(small_models.write(folder / f"{name}.safetensors", small_models.near(base, seed) if seed else base))


def of_lora(**settings: object) -> Callable[[Path], dict[str, object]]:
    return lambda folder: {"file": lora(folder, "a", 1), "family": "sd15", **settings}


def baked(folder: Path) -> dict[str, object]:
    name = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
    shape = small_models.shapes("sd15")[name]
    layer = {"down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": shape}
    path = small_loras.write(folder / "lora.safetensors", small_loras.lora(layer, rank=2))
    return {"model": model(folder, "a", 0), "networks": [str(path)], "family": "sd15"}


EXAMPLES: Mapping[str, Callable[[Path], dict[str, object]]] = {
    "bake": baked,
    "convert": lambda folder: {"files": [model(folder, "a", 0)], "dtype": "bf16"},
    "extract": lambda folder: {"tuned": model(folder, "a", 2), "base": model(folder, "b", 0), "family": "sd15", "rank": 4},
    "lora_convert": of_lora(naming="diffusers"),
    "lora_merge": lambda folder: {"files": [lora(folder, "a", 1), lora(folder, "b", 2)], "family": "sd15"},
    "lora_metadata": lambda folder: {"file": lora(folder, "a", 1), "values": {"modelspec.title": "New"}},
    "lora_resize": of_lora(rank=6),
    "lora_scale": of_lora(strength=0.5),
    "merge": lambda folder: {"models": [model(folder, "a", 0), model(folder, "b", 2)]},
}  # fmt: skip


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[Any]]:
    """What a new process says of the outlook of each tool: the number of tensors, and which heavy modules were imported."""
    wanted = {}
    for name in modules():
        folder = tmp_path_factory.mktemp("tool")
        example = EXAMPLES[name.rpartition(".")[2]](folder)
        wanted[name] = {"target": str(folder / "new.safetensors"), **example}
    done = subprocess.run(
        [sys.executable, "-c", OUTLOOK, json.dumps(wanted)], check=True, capture_output=True, text=True
    )
    return {name: found for name, *found in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", modules())
def test_the_outlook_of_a_tool_needs_no_numpy(seen: Mapping[str, list[Any]], name: str) -> None:
    tensors, heavy = seen[name]
    assert tensors
    assert heavy == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a file system can only be mounted as root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("name", modules())
def test_a_disk_that_is_too_small_is_said_with_numbers_and_one_that_fills_up_leaves_no_file(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    tool = import_module(name)
    table = {"target": str(disk / "new.safetensors"), **EXAMPLES[name.rpartition(".")[2]](tmp_path)}
    settings = from_table(tool.Settings, table, name, WeightsError)
    with pytest.raises(
        WeightsError, match=r"The new file needs \d+\.\d MB and 5\d\.\d MB beside it, but .* has 0\.0 MB free"
    ):
        tool.outlook(settings)
    monkeypatch.setattr(writing, "DISK_FLOOR_BYTES", -(1 << 40))
    with pytest.raises(OSError, match="No space left"):
        tool.run(settings, lambda _: None)
    assert list(disk.iterdir()) == []
