"""A conversion gives tensors the names that engines read, says before what it renames, and changes no number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.support import recorded_headers, small_models
from tests.support.small_models import Arrays
from trainer_core.cli import easel
from trainer_core.errors import WeightsError
from trainer_core.models import detection, header
from trainer_core.tools import convert
from trainer_core.tools.convert import Settings

PREFIX = "model.diffusion_model."


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))


def flux() -> Arrays:
    return small_models.arrays("flux-dev", 1)


def as_comfyui(tensors: Arrays, prefix: str = "") -> Arrays:
    """A model in the names that ComfyUI of 2026 writes."""
    return {prefix + name.replace("_norm.scale", "_norm.weight"): value for name, value in tensors.items()}


def settings(path: Path, **more: object) -> Settings:
    return Settings(files=(str(path),), names="original", **more)


def same(path: Path, wanted: Arrays) -> bool:
    found = small_models.read(path)
    return found.keys() == wanted.keys() and all(
        found[key].tobytes() == value.tobytes() for key, value in wanted.items()
    )


def test_norms_and_a_prefix_are_renamed_and_said_before(tmp_path: Path) -> None:
    wanted = flux()
    path = small_models.write(tmp_path / "new.safetensors", as_comfyui(wanted, PREFIX))
    planned = convert.outlook(settings(path))
    renamed = sum(name.endswith("_norm.scale") for name in wanted)
    assert renamed
    assert any(
        "are renamed to the original code's names, such as model.diffusion_model." in note for note in planned.notes
    )
    assert f"All names lose the prefix {PREFIX}." in planned.notes
    made = convert.run(settings(path), lambda _: None)
    assert same(made, wanted)
    assert detection.detect(header.read(made)).prefix == ""
    assert json.loads(header.read(made).metadata["easel.recipe"])["settings"]["names"] == "original"


def test_only_the_names_of_norms_count_as_renamed_without_a_prefix(tmp_path: Path) -> None:
    wanted = flux()
    path = small_models.write(tmp_path / "new.safetensors", as_comfyui(wanted))
    renamed = sum(name.endswith("_norm.scale") for name in wanted)
    notes = convert.outlook(settings(path)).notes
    assert any(f": {renamed} tensors of {len(wanted):,} are renamed" in note for note in notes)
    made = convert.run(settings(path, dtype="bf16"), lambda _: None)
    found = small_models.read(made)
    assert found.keys() == wanted.keys()


def test_in_a_checkpoint_the_denoiser_and_the_vae_are_renamed_and_the_text_encoders_stay(tmp_path: Path) -> None:
    base = small_models.arrays("sd15", 1)
    vae = {key: value for key, value in base.items() if key.startswith("first_stage_model.")}
    path = small_models.write(tmp_path / "new.safetensors", base)
    with pytest.raises(WeightsError, match="No name would change"):
        convert.outlook(settings(path))
    folder = convert.run(Settings(files=(str(path),), form="diffusers"), lambda _: None)
    of_vae = small_models.read(folder / "vae" / "diffusion_pytorch_model.safetensors")
    mixed = {key: value for key, value in base.items() if key not in vae}
    mixed |= {f"first_stage_model.{key}": value for key, value in of_vae.items()}
    other = small_models.write(tmp_path / "mixed.safetensors", mixed)
    made = convert.run(settings(other, family="sd15"), lambda _: None)
    found = small_models.read(made)
    assert found.keys() == base.keys()
    assert all(np.array_equal(found[key].reshape(-1), base[key].reshape(-1)) for key in base)


def test_a_part_alone_gets_the_names_of_its_engines(tmp_path: Path) -> None:
    base = small_models.arrays("sd15", 1)
    path = small_models.write(tmp_path / "whole.safetensors", base)
    folder = convert.run(Settings(files=(str(path),), form="diffusers"), lambda _: None)
    unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
    wanted = {key: value for key, value in base.items() if key.startswith(PREFIX)}
    assert same(convert.run(settings(unet), lambda _: None), wanted)
    vae = folder / "vae" / "diffusion_pytorch_model.safetensors"
    made = small_models.read(convert.run(settings(vae), lambda _: None))
    assert made.keys() == {key.removeprefix("first_stage_model.") for key in base if key.startswith("first_stage")}


def test_what_has_names_of_its_own_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = small_models.write(tmp_path / "new.safetensors", as_comfyui(flux()))
    for form in ("parts", "diffusers"):
        with pytest.raises(WeightsError, match="has names of its own"):
            convert.outlook(settings(path, form=form))
    odd = recorded_headers.write_file(tmp_path / "odd.safetensors", {"w": ("F16", (2, 2))})
    with pytest.raises(WeightsError, match="does not know the tensor names"):
        convert.outlook(settings(odd))
    with pytest.raises(WeightsError, match="no kind of names"):
        convert.outlook(Settings(files=(str(path),), names="other"))


def test_the_command_says_what_would_be_renamed(tmp_path: Path) -> None:
    path = small_models.write(tmp_path / "new.safetensors", as_comfyui(flux(), PREFIX))
    said = CliRunner().invoke(easel, ["convert", str(path), "--names", "original", "--dry-run"])
    assert said.exit_code == 0, said.output
    assert "renamed to the original code's names" in said.output
    assert "lose the prefix" in said.output
    assert not list(tmp_path.glob("new-*"))
