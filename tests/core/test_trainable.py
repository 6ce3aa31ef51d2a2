"""Who trains a model: what detection says of a file is what a plan for it comes to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.recorded_headers import recorded
from trainer_core.engines import registry, trainable
from trainer_core.models.detection import Detection, detect
from trainer_core.models.header import Header

KOHYA, SIMPLETUNER = (registry.get(name).manifest for name in ("kohya", "simpletuner"))


def behind(prefix: str, name: str) -> Detection:
    """What a recorded model is with another prefix in front of the names of its diffusion model."""
    own = ("model.diffusion_model.", "net.")
    tensors = {}
    for key, info in recorded(name).tensors.items():
        bare = next((key.removeprefix(word) for word in own if key.startswith(word)), key)
        tensors[prefix + bare] = info
    return detect(Header(Path("x.safetensors"), tensors, {}, "safetensors"))


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("sd35-medium", "model.diffusion_model."),
        ("flux-dev", ""),
        ("flux-dev", "model.diffusion_model."),
        ("lumina2", "model.diffusion_model."),
        ("anima", "net."),
        ("hunyuan-image", ""),
    ],
)
def test_files_that_a_loader_knows_are_trained(name: str, prefix: str) -> None:
    assert trainable.why_not(behind(prefix, name), KOHYA) == ""


# Source: sd-scripts library/sd3_utils.py load_mmdit, which leaves all else out; anima_utils.py and hunyuan_image_models.py.
@pytest.mark.parametrize(
    ("name", "prefix"),
    [("sd35-medium", ""), ("flux-dev", "net."), ("flux-dev", "state_dict."), ("anima", "model.diffusion_model.")],
)
def test_names_that_a_loader_leaves_out_are_refused(name: str, prefix: str) -> None:
    found = behind(prefix, name)
    assert found.family
    assert "names in this file" in trainable.why_not(found, KOHYA)


# Source: sd-scripts load_flow_model, load_lumina_model and load_mmdit: other names are dropped (strict=False) or end the run.
@pytest.mark.parametrize("name", ["folder-chroma", "folder-lumina2", "folder-sd35-medium", "folder-anima"])
def test_the_names_of_diffusers_are_refused_where_a_loader_does_not_know_them(name: str) -> None:
    inside = recorded(name)
    tensors = {key.partition("/")[2]: info for key, info in inside.tensors.items() if key.startswith("transformer/")}
    found = detect(Header(Path("x.safetensors"), tensors, {}, "safetensors"))
    assert found.layout == "diffusers"
    assert "layout" in trainable.why_not(found, KOHYA)


def test_a_folder_or_a_file_is_refused_where_the_engine_reads_the_other() -> None:
    assert "not from a diffusers folder" in trainable.why_not(detect(recorded("folder-flux-dev")), KOHYA)
    assert "not from a single file" in trainable.why_not(detect(recorded("flux-dev")), SIMPLETUNER)
    assert trainable.by(detect(recorded("folder-flux-dev"))) == ("simpletuner",)


def test_a_checkpoint_without_a_part_is_trained_by_no_engine_that_takes_none_beside_it() -> None:
    whole = detect(recorded("sdxl"))
    assert "kohya" in trainable.by(whole)
    half = replace(whole, parts=("vae", "clip_l"))
    assert trainable.by(half) == ()
    assert "no OpenCLIP ViT-bigG/14" in trainable.why_not(half, KOHYA)
    assert trainable.by(replace(whole, role="diffusion_model", parts=())) == ()


def test_sd3_without_a_vae_inside_needs_one_beside_it() -> None:
    claim = KOHYA.families["sd3"]
    assert "vae" in claim.needed_parts(())
    assert "vae" not in claim.needed_parts(("vae",))
