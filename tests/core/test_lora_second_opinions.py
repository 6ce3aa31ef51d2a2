"""What diffusers and sd-scripts make of the same LoRAs, in the engines' environments, where they are installed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.support.small_loras import B_A, changes, error, lora, write
from trainer_core.tools import lora_convert, lora_resize

ROOT = Path(__file__).parents[2]
ENGINES = ROOT / "workspace" / "engines"
PYTHON = {name: ENGINES / name / "venv" / "bin" / "python" for name in ("kohya", "simpletuner")}
SCRIPT = ROOT / "tests" / "support" / "second_opinion_diffusers.py"
# FLUX in true shapes: diffusers cuts the joined layers of kohya's files at fixed rows.
FLUX = {
    "double_blocks.0.img_attn.qkv": (9216, 3072), "double_blocks.0.txt_mlp.0": (12288, 3072), "double_blocks.0.img_mod.lin": (18432, 3072),
    "single_blocks.0.linear1": (21504, 3072), "single_blocks.0.linear2": (3072, 15360),
}  # fmt: skip
UNET = {
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q": (64, 64), "mid_block.attentions.0.proj_in": (64, 64),
    "up_blocks.1.attentions.1.transformer_blocks.0.ff.net.2": (64, 256),
}  # fmt: skip
SDXL = {
    "input_blocks.4.1.transformer_blocks.0.attn1.to_q": (64, 64), "middle_block.1.proj_in": (64, 64),
    "output_blocks.1.1.transformer_blocks.0.ff.net.2": (64, 256),
}  # fmt: skip


def python(engine: str) -> str:
    if not PYTHON[engine].is_file():
        pytest.skip(f"the environment of {engine} is not installed")
    return str(PYTHON[engine])


@pytest.fixture(scope="module")
def in_diffusers(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """By name of the case: the changes that diffusers reads in a file, and in the same file with other names.

    All files are read by one process: its imports take longer than all of its work.
    """
    diffusers = python("simpletuner")
    folder = tmp_path_factory.mktemp("loras")
    asked: dict[str, list[str]] = {}
    for family, shapes in (("flux", FLUX), ("sdxl", SDXL), ("sd15", UNET)):
        path = write(folder / f"{family}.safetensors", lora(shapes, rank=2, alpha=1.0, kind=np.float32))
        asked[family] = [family, *renamed(path, "diffusers", family)]
    path = write(folder / "peft.safetensors", lora(UNET, "unet.", rank=2, alpha=None, kind=np.float32, ends=B_A))
    asked["peft"] = ["sd15", *renamed(path, "sd-scripts", "sd15")]
    words = [
        word
        for name, (family, *files) in asked.items()
        for number, file in enumerate(files)
        for word in (family, str(folder / f"{name}{number}.npz"), file)
    ]
    subprocess.run([diffusers, str(SCRIPT), *words], check=True, capture_output=True)
    return {name: tuple(dict(np.load(folder / f"{name}{number}.npz")) for number in range(2)) for name in asked}


def renamed(path: Path, naming: str, family: str) -> tuple[str, str]:
    settings = lora_convert.Settings(file=str(path), naming=naming, family=family)
    return str(path), str(lora_convert.run(settings, lambda _: None))


@pytest.mark.backend
@pytest.mark.parametrize("family", ["flux", "sdxl", "sd15"])
def test_diffusers_understands_the_converted_lora_as_the_original_one(
    in_diffusers: dict[str, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]], family: str
) -> None:
    wanted, found = in_diffusers[family]
    assert found.keys() == wanted.keys()
    # A joined layer of kohya's file that diffusers thinks sparse keeps its numbers, so only rounding differs.
    assert max(error(found[name], wanted[name]) for name in wanted) < 1e-5


@pytest.mark.backend
def test_sd_scripts_resizes_to_the_same_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", lora(UNET, rank=8, kind=np.float32))
    source = ENGINES / "kohya" / "source"
    target = tmp_path / "theirs.safetensors"
    subprocess.run(
        [python("kohya"), str(source / "networks" / "resize_lora.py"), "--model", str(path), "--save_to", str(target), "--new_rank", "3", "--device", "cpu"],
        check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(source)},
    )  # fmt: skip
    ours = lora_resize.run(lora_resize.Settings(file=str(path), rank=3, family="sd15"), lambda _: None)
    whole, one, other = changes(path), changes(ours), changes(target)
    for name, change in whole.items():
        assert error(one[name], other[name]) < 1e-3
        assert error(one[name], change) == pytest.approx(error(other[name], change), rel=1e-4)


@pytest.mark.backend
def test_diffusers_and_kohya_names_of_a_unet_are_one_lora(
    in_diffusers: dict[str, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]],
) -> None:
    wanted, found = in_diffusers["peft"]
    assert found.keys() == wanted.keys()
    assert max(error(found[name], wanted[name]) for name in wanted) < 1e-6
