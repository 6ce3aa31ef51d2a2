"""Companion files are chosen by their headers, never by their names, and each other file has a reason."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support import recorded_headers
from trainer_core import catalog
from trainer_core.catalog import Part, PartSource
from trainer_core.models import detection, header, library
from trainer_core.models.detection import Detection
from trainer_core.models.families import ModelFamily
from trainer_core.models.library import companions

FLUX_PARTS = {"clip_l": "clip-l", "t5xxl": "t5xxl", "vae": "vae-flux"}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))


class Shelf:
    """Writes recorded headers as files with any name, and with another dtype or age."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, recorded, name, dtype="", age=0):
        found = recorded_headers.load(recorded)
        tensors = {key: (dtype or before, shape) for key, (before, shape) in found["tensors"].items()}
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        recorded_headers.write_file(path, tensors, found["metadata"])
        os.utime(path, (2e9 - age, 2e9 - age))
        return path


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path / "shelf")


def needed(shelf, name="flux-dev", settings=None):
    shelf.folder.mkdir(exist_ok=True)
    model = detection.detect(header.read(recorded_headers.write(name, shelf.folder.parent)))
    return library.scan([shelf.folder]).parts_for(model, settings)


def taken(found):
    return {setting: entry.path.name for setting, entry in found.found.items()}


def reasons(found, setting):
    return {each.entry.path.name: each.why for each in found.passed_over if each.setting == setting}


def test_missing_companion_files_are_listed_with_their_sources(shelf):
    found = needed(shelf)
    assert found.found == {}
    assert [part.setting for part in found.missing] == ["clip_l", "t5xxl", "vae"]
    for part in found.missing:
        assert part.sources == catalog.parts()[{"vae": "vae_16ch"}.get(part.setting, part.setting)].sources_for("flux")
        assert part.title in part.why
        assert "FLUX.1" in part.why
    assert "stabilityai/stable-diffusion-3.5-large" not in {source.repo for source in found.missing[2].sources}


def test_parts_are_found_with_any_name(shelf):
    for setting, recorded in FLUX_PARTS.items():
        shelf(recorded, f"{ord(setting[0])}.safetensors")
    found = needed(shelf)
    assert set(taken(found)) == set(FLUX_PARTS)
    assert found.missing == ()
    for setting, entry in found.found.items():
        assert entry.found.variant == {"vae": "vae_16ch"}.get(setting, setting)
        assert found.candidates[setting] == (entry,)


def test_parts_in_the_model_are_not_looked_for(shelf):
    found = needed(shelf, "sd15")
    assert (found.found, found.missing) == ({}, ())
    # An engine may need a separate file nevertheless.
    assert [part.setting for part in needed(shelf, "sd15", ("vae",)).missing] == ["vae"]
    assert needed(shelf, "folder-flux-dev").missing == ()


def test_a_name_alone_does_not_make_a_part(shelf):
    shelf("clip-l", "t5xxl_fp8_e4m3fn.safetensors")
    shelf("t5xxl", "clip_l.safetensors")
    shelf("vae-sd", "vae-ae.safetensors")
    found = needed(shelf)
    assert taken(found) == {"clip_l": "t5xxl_fp8_e4m3fn.safetensors", "t5xxl": "clip_l.safetensors"}
    assert [part.setting for part in found.missing] == ["vae"]
    assert "its header shows that it is CLIP" in reasons(found, "t5xxl")["t5xxl_fp8_e4m3fn.safetensors"]
    assert "its header shows that it is T5" in reasons(found, "clip_l")["clip_l.safetensors"]


def test_fp8_is_preferred_for_the_large_text_encoder_and_precision_for_the_small_one(shelf):
    for dtype in ("F32", "F16", "F8_E4M3", "F8_E5M2"):
        shelf("t5xxl", f"t5 {dtype}.safetensors", dtype)
    for dtype in ("F8_E4M3", "F16"):
        shelf("clip-l", f"clip {dtype}.safetensors", dtype, age=5)
    shelf("clip-l", "clip new.safetensors", "F8_E4M3")
    found = needed(shelf)
    assert taken(found) == {"t5xxl": "t5 F8_E4M3.safetensors", "clip_l": "clip F16.safetensors"}
    assert [entry.found.dtype for entry in found.candidates["t5xxl"]] == ["F8_E4M3", "F16", "F32", "F8_E5M2"]
    assert (
        reasons(found, "t5xxl")["t5 F16.safetensors"] == "t5 F8_E4M3.safetensors is used: F8_E4M3 is preferred to F16."
    )
    assert "F16 is preferred to F8_E4M3" in reasons(found, "clip_l")["clip new.safetensors"]


@pytest.mark.parametrize("scale", ["scaled_fp8", "encoder.block.0.layer.0.SelfAttention.k.scale_weight"])
def test_scaled_fp8_is_not_used_as_plain_fp8(shelf, scale):
    found = recorded_headers.load("t5xxl")
    weights = {key: ("F8_E4M3", shape) for key, (_, shape) in found["tensors"].items()}
    shelf("t5xxl", "plain.safetensors", age=50)
    recorded_headers.write_file(shelf.folder / "scaled.safetensors", {**weights, scale: ("F32", (1,))})
    for _ in range(2):  # read, then known
        found = needed(shelf)
        assert taken(found)["t5xxl"] == "plain.safetensors"
        assert "scaled fp8" in reasons(found, "t5xxl")["scaled.safetensors"]


def test_a_family_in_the_name_of_a_file_of_another_role_does_not_make_it_a_candidate(shelf):
    for recorded, name in (("z-image", "qwen_image"), ("vae-qwen-image", "qwen_image_vae"), ("clip-l", "qwen_encoder")):
        shelf(recorded, f"{name}.safetensors")
    (shelf.folder / "qwen_broken.safetensors").write_bytes(b"12345678")
    found = reasons(needed(shelf, "anima"), "qwen")
    assert found.keys() == {"qwen_encoder.safetensors", "qwen_broken.safetensors"}


def test_the_newest_of_equal_files_is_used(shelf):
    shelf("clip-l", "a.safetensors", age=100)
    shelf("clip-l", "b.safetensors", age=1)
    shelf("clip-l", "c.safetensors", age=50)
    found = needed(shelf)
    assert [entry.name for entry in found.candidates["clip_l"]] == ["b", "c", "a"]
    assert reasons(found, "clip_l")["a.safetensors"].endswith("it is newer.")


def test_files_that_no_engine_reads_are_passed_over(shelf):
    place = shelf("clip-l", "encoder/model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(recorded_headers.load("clip-l")["tensors"], place.name)}
    place.with_name("model.safetensors.index.json").write_text(str(index).replace("'", '"'))
    found = needed(shelf)
    assert "clip_l" not in found.found
    assert "several files" in reasons(found, "clip_l")["model.safetensors.index.json"]
    # A component folder with a single weight file works like that file.
    single = place.parent.with_name("single")
    single.mkdir()
    shutil.copy(shelf("clip-l", "x.safetensors"), single / "model.safetensors")
    (single / "config.json").write_text("{}")
    (shelf.folder / "x.safetensors").unlink()
    assert needed(shelf).found["clip_l"].file == single / "model.safetensors"


def test_the_published_file_name_decides_between_equal_layouts_else_the_user_confirms(shelf):
    shelf("vae-flux", "diffusion_pytorch_model.safetensors")
    found = needed(shelf)
    assert "same layout" in found.unsure["vae"]
    shelf("vae-flux", "ae.safetensors", age=50)
    found = needed(shelf)
    assert taken(found)["vae"] == "ae.safetensors"
    assert found.unsure == {}
    assert "has the name of the file for this family" in reasons(found, "vae")["diffusion_pytorch_model.safetensors"]


def test_only_the_tables_decide():
    """With its own tables: the order of kinds takes precedence over the dtype, and unknown kinds are never used."""
    kinds = {
        name: Part(
            name, name.upper(), "text_encoder", "", (), "", (PartSource("a/b", f"{name}.safetensors"),), ("F16",)
        )
        for name in ("first", "second")
    }
    family = ModelFamily("f", "F", "flow", (), parts={"slot": ("first", "second"), "other": ("gone",)})

    def entry(name, kind, dtype):
        seen = Detection(None, "text_encoder", kind, dtype=dtype, format="safetensors")
        path = Path(f"/x/{name}.safetensors")
        return library.Entry(path, 1, 1.0, seen, "", path)

    entries = [entry("b", "second", "F16"), entry("a", "first", "F32"), entry("c", "gone", "F16")]
    found = companions.parts_for(entries, Detection("f", "diffusion_model"), families={"f": family}, parts=kinds)
    assert [each.name for each in found.candidates["slot"]] == ["a", "b"]
    assert [part.setting for part in found.missing] == ["other"]
    assert {each.why for each in found.passed_over} == {"a.safetensors is used: FIRST comes before SECOND."}
    assert (
        companions.parts_for(entries, Detection(None, "lora"), families={"f": family}, parts=kinds)
        == library.Companions()
    )
