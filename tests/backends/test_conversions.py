"""Conversions against the real libraries: diffusers, transformers and torch open what Easel makes, and find the same tensors."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import small_models
from trainer_core.child import child_environment
from trainer_core.errors import InstallError
from trainer_core.tools import check_loading, convert
from trainer_core.tools.convert import Settings
from trainer_core.weights.conversion.pipelines import pipelines

pytestmark = [pytest.mark.backend, pytest.mark.timeout(900)]
FAMILIES = ("sd15", "sd2", "sdxl", "sd3", "flux")
PROGRAM = Path(__file__).parents[1] / "support" / "real_folders.py"
Told = Mapping[str, Any]


def python() -> Path:
    """The Python of an installed engine with diffusers."""
    try:
        return check_loading.engine_for("").python
    except InstallError as error:
        pytest.skip(f"{error.message} These tests need one.")


def call(*arguments: str) -> None:
    done = subprocess.run(
        [python(), "-P", PROGRAM, *arguments], check=False, capture_output=True, text=True, env=child_environment()
    )
    assert not done.returncode, done.stderr[-3000:]


def jobs_of(root: Path, family: str) -> dict[str, Any]:
    """What is opened of a family: each component as it was given, as Easel's file, and as the folder made of that file."""
    file, given, back = root / f"{family}.safetensors", root / family, root / f"{family}-back"
    jobs: dict[str, Any] = {}
    for part in pipelines()[family].parts:
        name = f"{family}/{part.component}"
        jobs[f"{name}/given"] = {"class": part.type, "folder": str(given / part.component)}
        jobs[f"{name}/folder"] = {"class": part.type, "folder": str(back / part.component)}
        # diffusers' own converter of FLUX.1 only knows its full width, and makes no T5 of a file alone.
        if family != "flux" and part.kind != "t5xxl":
            jobs[f"{name}/file"] = {"class": part.type, "file": str(file), "config": str(given / part.component)}
    return jobs


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What the real libraries found in everything that Easel has made of small models with random weights."""
    root = tmp_path_factory.mktemp("conversions")
    call("make", str(root), *FAMILIES)
    jobs: dict[str, Any] = {}
    for family in FAMILIES:
        file = root / f"{family}.safetensors"
        convert.run(Settings(files=(str(root / family),), family=family, target=str(file)), lambda _: None)
        tokenizers = _tokenizers(root / "tokenizers")
        settings = Settings(
            files=(str(file),), family=family, form="diffusers", target=str(root / f"{family}-back"), tokenizers=str(tokenizers)
        )  # fmt: skip
        convert.run(settings, lambda _: None)
        jobs |= jobs_of(root, family)
    for family in ("sd15", "sdxl"):
        jobs[f"{family}/pipeline"] = {"class": pipelines()[family].pipeline, "folder": str(root / f"{family}-back")}
    source = root / "sd15.safetensors"
    jobs["sd15/tensors"] = {"tensors": str(source)}
    for name, wanted in {"bfloat16": {"dtype": "bf16"}, "float32": {"dtype": "fp32"}}.items():
        made = convert.run(
            Settings(files=(str(source),), target=str(root / f"{name}.safetensors"), **wanted), lambda _: None
        )
        jobs |= {f"{name}/easel": {"tensors": str(made)}, f"{name}/torch": {"tensors": str(source), "dtype": name}}
    pickled = convert.run(
        Settings(files=(str(source),), form="checkpoint", target=str(root / "sd15.ckpt")), lambda _: None
    )
    jobs["sd15/pickle"] = {"pickle": str(pickled)}
    (root / "jobs.json").write_text(json.dumps(jobs))
    call("open", str(root))
    return json.loads((root / "opened.json").read_text())


def _tokenizers(root: Path) -> Path:
    for name in ("tokenizer", "tokenizer_2"):
        (root / name).mkdir(parents=True, exist_ok=True)
        words = ["<|startoftext|>", "<|endoftext|>", "a", "a</w>", "!", "!</w>"]
        (root / name / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(words)}))
        (root / name / "merges.txt").write_text("#version: 0.2\n")
    return root


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_made_of_the_file_made_of_a_folder_has_the_same_tensors_for_diffusers(
    opened: Told, family: str
) -> None:
    for part in pipelines()[family].parts:
        assert opened[f"{family}/{part.component}/folder"] == opened[f"{family}/{part.component}/given"]


@pytest.mark.parametrize("family", FAMILIES[:-1])
def test_diffusers_reads_the_file_as_the_model_that_the_folder_was(opened: Told, family: str) -> None:
    for part in pipelines()[family].parts:
        name = f"{family}/{part.component}"
        if f"{name}/file" not in opened:
            continue
        given, file = dict(opened[f"{name}/given"]), dict(opened[f"{name}/file"])
        if part.projection:
            # diffusers takes a unit matrix for the projection that files of SD3 do not have.
            del given["text_projection.weight"], file["text_projection.weight"]
        assert file == given


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_diffusers_opens_the_whole_folder_as_a_pipeline(opened: Told, family: str) -> None:
    found = opened[f"{family}/pipeline"]
    for part in pipelines()[family].parts:
        given = opened[f"{family}/{part.component}/given"]
        assert {name: found[f"{part.component}/{name}"] for name in given} == given


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_torch_rounds_every_number_to_the_same_one(opened: Told, dtype: str) -> None:
    assert opened[f"{dtype}/easel"] == opened[f"{dtype}/torch"]


def test_torch_opens_the_checkpoint_as_weights_only(opened: Told) -> None:
    assert opened["sd15/pickle"] == opened["sd15/tensors"]


FP8 = """
import sys, torch
from safetensors.torch import load_file
old, new = load_file(sys.argv[1]), load_file(sys.argv[2])
names = [name.removesuffix(".scale_weight") for name in new if name.endswith(".scale_weight")]
for name in names:
    weight = old[f"{name}.weight"].float()
    scale = weight.abs().max() / 448
    assert torch.equal(new[f"{name}.scale_weight"], scale), name
    wanted = (weight / scale).to(torch.float8_e4m3fn)
    assert torch.equal(new[f"{name}.weight"].view(torch.uint8), wanted.view(torch.uint8)), name
print(len(names))
"""


def test_torch_computes_the_same_fp8_weights_and_scales(tmp_path: Path) -> None:
    source = small_models.write(tmp_path / "old.safetensors", small_models.arrays("flux-schnell", 1))
    made = convert.run(
        Settings(files=(str(source),), dtype="fp8-scaled", target=str(tmp_path / "new.safetensors")), lambda _: None
    )
    done = subprocess.run(
        [python(), "-c", FP8, source, made], check=False, capture_output=True, text=True, env=child_environment()
    )
    assert not done.returncode, done.stderr[-2000:]
    assert int(done.stdout) > 100
