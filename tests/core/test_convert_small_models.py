"""The demo's SDXL, which has fewer blocks than a real one, as a single file: recognised, merged, and said before it is made."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
from pathlib import Path

import pytest

from tests.support import weight_files as files
from trainer_core.demo import tiny_sdxl
from trainer_core.install import clip_tokenizer
from trainer_core.models import detection, header
from trainer_core.tools import convert, merge
from trainer_core.tools.convert import Settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))


@pytest.fixture
def single(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    vocabulary = tmp_path / "vocabulary"
    vocabulary.write_bytes(
        gzip.compress("\n".join(["version", *(f"a{number} b" for number in range(50_000))]).encode())
    )
    monkeypatch.setattr(clip_tokenizer, "VOCABULARY_SHA256", hashlib.sha256(vocabulary.read_bytes()).hexdigest())
    folder = tiny_sdxl.write(vocabulary, tmp_path / "tiny")
    notes = convert.outlook(Settings(files=(str(folder),), form="safetensors")).notes
    assert any("engines and other programs do not read it as a single file" in note for note in notes)
    target = str(tmp_path / "single.safetensors")
    return convert.run(Settings(files=(str(folder),), form="safetensors", target=target), lambda _: None)


def test_its_single_file_is_an_sdxl_that_no_engine_trains(single: Path) -> None:
    found = detection.detect(header.read(single))
    assert (found.family, found.variant, found.role) == ("sdxl", "small", "checkpoint")
    assert "engines and other programs do not read it" in found.apart


def test_its_single_file_can_be_merged(single: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(single.read_bytes())
    outlook = merge.outlook(merge.Settings(models=(str(single), str(other)), target=str(tmp_path / "m.safetensors")))
    assert outlook.changed == outlook.tensors


@pytest.mark.parametrize(
    "lost", ["conditioner.embedders.0.", "conditioner.embedders.1.", "model.diffusion_model.label_emb."]
)
def test_without_what_only_an_sdxl_has_it_is_unknown(single: Path, lost: str) -> None:
    own = header.read(single)
    left = {name: info for name, info in own.tensors.items() if not name.startswith(lost)}
    assert detection.detect(dataclasses.replace(own, tensors=left)).family is None


def test_a_new_file_that_easel_would_not_recognise_is_announced(single: Path, tmp_path: Path) -> None:
    rows = {name: array for name, array in files.read(single).items() if "embedders.1.model.ln_final" not in name}
    path = files.safetensors(tmp_path / "odd.safetensors", rows)
    notes = convert.outlook(Settings(files=(str(path),), dtype="bf16", family="sdxl")).notes
    assert any("will not recognise the new file as Stable Diffusion XL" in note for note in notes), notes
