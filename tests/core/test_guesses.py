"""Metadata, hashes and the file name give a guess at what the tensors cannot show; a guess is never certain."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import recorded_headers
from tests.support.recorded_headers import recorded
from tests.support.recorded_roles import role
from trainer_core.models.detection import Detection, bases, detect, guess
from trainer_core.models.families import load_families
from trainer_core.models.header import Header
from trainer_core.text import printable

PONY = "67ab2fd8ec439a89b3fedb15cc65f54336af163c7eb5e4f2acc98f090a29b0b3"


def named(name: str, path: str, **changes: object) -> Detection:
    """The detection of a recorded header with another path."""
    return detect(dataclasses.replace(recorded(name, **changes), path=Path(path)))


@pytest.mark.parametrize(
    ("name", "path", "wanted"),
    [
        ("sdxl", "ponyDiffusionV6XL_v6StartWithThisOne.safetensors", "pony"),
        ("sdxl", "autismmixSDXL_autismmixPony.safetensors", "pony"),
        ("sdxl", "waiNSFWIllustrious_v140.safetensors", "illustrious"),
        ("sdxl", "Illustrious-XL-v0.1.safetensors", "illustrious"),
        ("sdxl", "NoobAI-XL-v1.1.safetensors", "noobai"),
        ("sdxl", "NoobAI-XL-Vpred-v1.0.safetensors", "noobai_vpred"),
        ("sdxl", "noobaiXLNAIXL_vPred10Version.safetensors", "noobai_vpred"),
        ("sdxl", "noobaiXLNAIXL_epsilonPred11Version.safetensors", "noobai"),
        ("sdxl", "noob_illustrious_mix.safetensors", "noobai"),
        ("sdxl", "animagine-xl-3.1.safetensors", "animagine"),
        ("sdxl", "sd_xl_base_1.0.safetensors", "sdxl_base"),
        ("sdxl", "sd_xl_turbo_1.0_fp16.safetensors", "sdxl_distilled"),
        ("flux-dev", "flux1-dev.safetensors", "flux_dev"),
        ("flux-dev", "flux1-dev-kontext_fp8_scaled.safetensors", "flux_kontext"),
        ("flux-dev", "flux1-krea-dev.safetensors", "flux_krea"),
        ("sd15", "v1-5-pruned-emaonly.safetensors", "sd15_base"),
        ("sd15", "animefull-final-pruned.safetensors", "nai_anime"),
        ("sd2", "v2-1_768-ema-pruned.safetensors", "sd2_768"),
        ("flux2-klein-4b", "flux-2-klein-base-4b.safetensors", "flux2_klein_base"),
        ("flux2-klein-9b", "flux-2-klein-9b.safetensors", "flux2_klein"),
        ("z-image", "z_image_turbo_bf16.safetensors", "z_image_turbo"),
        ("z-image", "z_image_de_turbo_v1_bf16.safetensors", "z_image_deturbo"),
        ("z-image", "z_image_bf16.safetensors", None),
        ("krea2", "krea2_raw_bf16.safetensors", "krea2_raw"),
        ("krea2", "turbo.safetensors", "krea2_turbo"),
        # A folder's name, a part of a word, and a word of another family suggest nothing.
        ("flux-dev", "/workspace/pony_project/flux1-dev.safetensors", "flux_dev"),
        ("flux-dev", "/home/axl/unnamed.safetensors", None),
        ("sdxl", "/home/flux/kontext/unnamed.safetensors", None),
        ("sdxl", "wai_v2-0_xl.safetensors", None),
        ("sdxl", "ponytail.safetensors", None),
        ("flux-dev", "pony.safetensors", None),
        ("sdxl", "kontext.safetensors", None),
        ("sdxl", "pony_animagine_merge.safetensors", None),
    ],
)
def test_file_names(name: str, path: str, wanted: str | None) -> None:
    found = named(name, path)
    assert found.family == recorded_headers.load(name)["family"], "a name never changes the family"
    assert (found.guess.id if found.guess else None) == wanted
    assert found.guess is None or found.guess.basis == "file name"


METADATA = {
    "modelspec.title": "Illustrious XL",
    "ss_sd_model_name": "animagine.safetensors",
    "ss_new_sd_model_hash": PONY,
}


class TestOrder:
    """Sources by reliability: modelspec, kohya's metadata, hashes, the file name."""

    def basis(self, *without: str) -> tuple[str, str]:
        left = {key: value for key, value in METADATA.items() if key not in without}
        found = named("sdxl", "noobai.safetensors", metadata=left).guess
        assert found
        return found.id, found.basis

    def test_order(self) -> None:
        assert self.basis() == ("illustrious", "modelspec")
        assert self.basis("modelspec.title") == ("animagine", "training metadata")
        assert self.basis("modelspec.title", "ss_sd_model_name") == ("pony", "hash")
        assert self.basis(*METADATA) == ("noobai", "file name")

    def test_a_given_hash_is_matched_in_full_or_by_its_start(self) -> None:
        for text in (PONY, PONY.upper(), PONY[:10]):
            found = detect(recorded("sdxl"), sha256=text).guess
            assert found
            assert (found.id, found.basis) == ("pony", "hash")
        for text in ("", PONY[:9], "0" * 64):
            assert detect(recorded("sdxl"), sha256=text).guess is None

    def test_a_legacy_hash(self) -> None:
        found = detect(role("lora-kohya-sd15", ss_sd_model_hash="925997e9")).guess
        assert found
        assert (found.id, found.basis) == ("nai_anime", "hash")

    def test_a_lora_is_guessed_by_its_base_model(self) -> None:
        path = "/workspace/animagine/ponyDiffusionV6XL.safetensors"
        found = detect(role("lora-kohya-sdxl", ss_sd_model_name=path)).guess
        assert found
        assert (found.id, found.basis) == ("pony", "training metadata")


class TestPrediction:
    def test_a_name_without_a_marker_asks_for_confirmation(self) -> None:
        found = named("sdxl", "NoobAI-XL-Vpred-v1.0.safetensors")
        assert (found.prediction, found.is_prediction_certain) == ("epsilon", False)
        assert found.evidence[-1] == "named like a v-prediction model, but has no marker: confirm the prediction"
        assert named("sd15", "my_vpred_model.safetensors").evidence[-1] == found.evidence[-1]
        assert "confirm the prediction" in named("sd2", "v2-1_768-ema-pruned.safetensors").evidence[-1]

    def test_a_marker_needs_no_confirmation(self) -> None:
        marked = {"shapes": {"v_pred": (0,), "ztsnr": (0,)}}
        found = named("sdxl", "NoobAI-XL.safetensors", **marked)
        assert found.guess
        assert found.guess.id == "noobai_vpred"
        assert not any("confirm the prediction" in text for text in found.evidence)

    def test_metadata_takes_precedence_over_the_name(self) -> None:
        found = named("sdxl", "NoobAI-XL-Vpred.safetensors", metadata={"modelspec.prediction_type": "epsilon"})
        assert found.guess
        assert found.guess.id == "noobai"
        assert found.prediction == "epsilon"


def test_tensors_take_precedence_over_metadata_and_the_evidence_says_so() -> None:
    found = named("sd15", "x.safetensors", metadata={"modelspec.architecture": "stable-diffusion-xl-v1-base"})
    assert found.family == "sd15"
    assert "but its tensors are Stable Diffusion 1.5, and they take precedence" in found.evidence[-1]
    agreed = named("sd15", "x.safetensors", metadata={"modelspec.architecture": "stable-diffusion-v1"})
    assert not any("take precedence" in text for text in agreed.evidence)


def test_every_guess_belongs_to_a_family_and_has_its_own_words() -> None:
    known = guess.load()
    for each in known.values():
        assert set(each.families) <= set(load_families()) & set(bases.load()), each.id
        assert set(each.over) <= set(known), each.id
        assert each.words, each.id
        assert all(word == word.lower() and word.isalnum() for word in each.words), each.id
        assert all(len(known_hash) >= 10 for known_hash in each.hashes)


@given(st.text(max_size=400), st.sampled_from([*guess.TITLES, *guess.MODEL_NAMES, *guess.HASHES, guess.LEGACY_HASH]))
@settings(deadline=None, max_examples=60)
def test_random_names_and_metadata_never_crash_or_change_the_family(text: str, key: str) -> None:
    base = recorded("folder-sdxl-tiny")
    header = Header(
        Path("a") / (text.replace("/", "").replace("\0", "") or "b"),
        base.tensors,
        {key: text},
        base.format,
        base.configs,
    )
    found = detect(header, sha256=text)
    assert found.family == "sdxl"
    assert all(part == printable(part) for part in (*found.evidence, found.guess.evidence if found.guess else ""))


@pytest.mark.parametrize("name", ["flux1-dev.safetensors", "flux1-krea.safetensors", "flux-kontext.safetensors"])
def test_a_name_never_suggests_another_variant_than_the_header(name: str) -> None:
    schnell = dataclasses.replace(recorded("flux-schnell"), path=Path(name))
    assert detect(schnell).guess is None
    assert detect(dataclasses.replace(recorded("flux-dev"), path=Path(name))).guess is not None
