"""Who trains a model: what detection says of a file is what a plan for it comes to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.recorded_headers import load, recorded, write_file
from trainer_core import places
from trainer_core.engines import registry, trainable
from trainer_core.models.detection import Detection, detect
from trainer_core.models.families import load_families
from trainer_core.models.header import Header
from trainer_core.prepare.workbench import Workbench

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


def test_how_to_get_a_model_in_the_other_form_is_said_with_the_command_itself() -> None:
    flux, z_image = detect(recorded("flux-dev")), detect(recorded("z-image"))
    assert "easel models download black-forest-labs/FLUX.1-dev fetches" in trainable.why_not(flux, SIMPLETUNER)
    assert "download black-forest-labs/FLUX.1-Kontext-dev fetches" in trainable.why_not(flux, SIMPLETUNER, "kontext")
    # No header tells Turbo from the base.
    either = trainable.why_not(z_image, SIMPLETUNER)
    assert "download Tongyi-MAI/Z-Image (base) or easel models download Tongyi-MAI/Z-Image-Turbo (turbo)" in either
    assert "download Tongyi-MAI/Z-Image-Turbo fetches" in trainable.why_not(z_image, SIMPLETUNER, "turbo")
    assert "easel models starter --family flux" in trainable.why_not(detect(recorded("folder-flux-dev")), KOHYA)
    assert "download OWNER/NAME" in trainable.needs_folder("unheard", "An engine")


def test_every_family_of_which_an_engine_reads_only_folders_has_a_command_for_each_variant_that_it_trains() -> None:
    for engine in registry.available():
        for name, claim in engine.manifest.families.items():
            family = load_families()[name]
            if not claim.single_file:
                own = {each.variant for each in family.signatures if not each.apart}
                told = {*claim.cell("lora").flavours} or own
                trained = told & {*family.variants} - {*claim.without} or {""}
                assert trained <= {*family.folders}, f"{engine.manifest.id} {name}"


def test_the_repositories_of_the_guide_are_those_that_a_refusal_names() -> None:
    guide = (places.CHECKOUT / "docs" / "guide" / "models-of-2026.md").read_text("utf-8")
    named = {
        repository for family in load_families().values() for each in family.folders.values() for repository in each
    }
    rows = [
        line.split("|")[3].strip(" `") for line in guide.splitlines() if line.startswith("|") and "licence" not in line
    ]
    shown = {cell for cell in rows if "/" in cell}
    assert len(shown) > 4
    assert shown <= named


@pytest.mark.parametrize("is_recognised", [True, False])
def test_that_a_folder_is_needed_is_said_once(tmp_path: Path, is_recognised: bool) -> None:
    model = tmp_path / "x.safetensors"
    write_file(model, load("z-image")["tensors"] if is_recognised else {"odd": ("F16", (1,))})
    bench = Workbench()
    bench.use_engine("simpletuner")
    bench.set({"model.path": str(model), "model.family": "z_image", "model.variant": "turbo"})
    said = [each.message for each in bench.problems if each.path == "model.path" and "folder" in each.message]
    assert len(said) == 1
    assert said[0].startswith("SimpleTuner reads this family from a diffusers folder")
    assert "easel models download Tongyi-MAI/Z-Image-Turbo" in said[0]


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
