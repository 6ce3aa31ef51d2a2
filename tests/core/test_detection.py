"""Every recorded layout matches exactly one family, in any order of the families."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import recorded_headers
from tests.support.recorded_headers import recorded
from trainer_core.errors import AmbiguousModelError, DetectionError
from trainer_core.models import families, header
from trainer_core.models.detection import Detection, detect
from trainer_core.models.families import load_families
from trainer_core.models.header import Header, TensorInfo
from trainer_core.text import printable

ROLES_OF_UNKNOWN = ("lora", "vae", "text_encoder")
DENOISER = "model.diffusion_model."
FIRST = DENOISER + "input_blocks.0.0.weight"
LABEL = DENOISER + "label_emb.0.0.weight"
DEEPER = [f"{DENOISER}{side}_blocks.{number}.0.bias" for side in ("input", "output") for number in (9, 10, 11)]


@pytest.mark.parametrize("name", recorded_headers.NAMES)
def test_each_recorded_layout_is_detected_from_a_real_file(tmp_path: Path, name: str) -> None:
    wanted = recorded_headers.load(name)
    found = detect(header.read(recorded_headers.write(name, tmp_path)))
    assert found.family == wanted["family"]
    assert found.role == (wanted["role"] if wanted["family"] or wanted["role"] in ROLES_OF_UNKNOWN else "unknown")
    assert found.evidence
    assert set(found.rejected) == set(load_families()) - {wanted["family"]}
    assert all(found.rejected.values())


def test_the_order_of_families_never_matters() -> None:
    known = list(load_families().items())
    for name in recorded_headers.NAMES:
        found = recorded(name)
        random.Random(name).shuffle(known)
        assert detect(found, dict(known)) == detect(found)


def test_two_matching_families_are_an_error() -> None:
    known = dict(load_families())
    with pytest.raises(AmbiguousModelError, match="sdxl base and sdxl base"):
        detect(recorded("sdxl"), {"a": known["sdxl"], "b": known["sdxl"]})


@pytest.mark.parametrize(
    ("name", "variant", "words"),
    [
        ("folder-sdxl-refiner", "refiner", "the SDXL refiner"),
        ("folder-sdxl-inpainting", "inpainting", "nine channels"),
        ("folder-sd15-inpainting", "inpainting", "nine channels"),
        ("folder-hunyuan-image-distilled", "distilled", "the distilled model"),
    ],
)
def test_variants_that_cannot_be_trained_like_the_family_say_why(name: str, variant: str, words: str) -> None:
    found = detect(recorded(name))
    assert (found.family, found.variant) == (recorded_headers.load(name)["family"], variant)
    assert words in found.apart


@pytest.mark.parametrize(
    ("name", "family", "words"),
    [
        (
            "sd2",
            "sd15",
            "it is Stable Diffusion 2: input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight is 320x1024, not",
        ),
        ("unet-sd2-diffusers", "sd15", "it is Stable Diffusion 2: "),
        ("folder-sd21", "sd15", "it is Stable Diffusion 2: unet has cross_attention_dim 1024"),
        ("sd15", "sd2", "attn2.to_k.weight is 320x768, not 320x1024"),
        ("chroma", "flux", "it is Chroma: lacks double_blocks.0.img_mod.lin.weight"),
        ("folder-chroma", "flux", "it is Chroma: its pipeline is ChromaPipeline"),
        ("flux-dev", "chroma", "lacks distilled_guidance_layer"),
        ("hunyuan-image", "flux", "lacks double_blocks.0.img_mod.lin.weight"),
    ],
)
def test_similar_families_reject_each_other_with_a_reason(name: str, family: str, words: str) -> None:
    assert words in detect(recorded(name)).rejected[family]


@pytest.mark.parametrize("name", ["chroma", "lumina2", "hunyuan-image", "anima", "flux-dev"])
@pytest.mark.parametrize("prefix", families.PREFIXES)
def test_a_diffusion_model_is_detected_with_every_prefix(name: str, prefix: str) -> None:
    bare = recorded(name)
    tensors = {prefix + key.removeprefix("net."): info for key, info in bare.tensors.items()}
    found = detect(dataclasses.replace(bare, tensors=tensors))
    assert (found.family, found.role) == (detect(bare).family, "diffusion_model")


def test_a_lumina_with_text_encoder_and_vae_is_a_checkpoint() -> None:
    """As Neta Lumina is distributed. Source: sd-scripts library/lumina_util.py."""
    parts = {
        "model.diffusion_model.": "lumina2",
        "text_encoders.gemma2_2b.transformer.": "gemma2-2b",
        "vae.": "vae-flux",
    }
    tensors = {prefix + key: info for prefix, name in parts.items() for key, info in recorded(name).tensors.items()}
    found = detect(Header(Path("neta.safetensors"), tensors, {}, "safetensors"))
    assert (found.family, found.role) == ("lumina2", "checkpoint")


@pytest.mark.parametrize(
    ("name", "changes", "variant"),
    [
        ("sd2", {"shapes": {FIRST: (320, 9, 3, 3)}}, "inpainting"),
        ("sd2", {"shapes": {FIRST: (320, 5, 3, 3)}}, "depth"),
        ("sd2", {"shapes": {LABEL: (1280, 2048)}}, "unclip"),
        ("folder-sd21", {"configs": {"": {"_class_name": "StableUnCLIPPipeline"}}}, "unclip"),
        ("hunyuan-image", {"shapes": {"guidance_in.mlp.0.weight": (3584, 256)}}, "distilled"),
        ("sdxl", {"shapes": {FIRST: (320, 9, 3, 3)}}, "inpainting"),
        ("sdxl", {"shapes": {FIRST: (320, 8, 3, 3)}}, "instruct_pix2pix"),
        (
            "sdxl",
            {"shapes": {FIRST: (384, 4, 3, 3), LABEL: (1536, 2560)} | dict.fromkeys(DEEPER, (1,))},
            "refiner",
        ),
        ("sdxl", {"drop": [f"transformer_blocks.{depth}." for depth in range(4, 10)]}, "ssd_1b"),
        ("sdxl", {"drop": [f"transformer_blocks.{depth}." for depth in range(2, 10)]}, "vega"),
        ("sdxl", {"shapes": {"edm_mean": (1,), "edm_std": (1,)}}, "edm"),
        ("sdxl", {"shapes": {"edm_vpred.sigma_max": ()}}, "cosxl"),
        ("sd15", {"shapes": {FIRST: (320, 9, 3, 3)}}, "inpainting"),
        ("sd15", {"shapes": {FIRST: (320, 8, 3, 3)}}, "instruct_pix2pix"),
        ("flux-dev", {"shapes": {"img_in.weight": (3072, 384)}}, "fill"),
        ("flux-dev", {"shapes": {"img_in.weight": (3072, 128)}}, "control"),
        ("folder-flux-dev", {"configs": {"": {"_class_name": "FluxKontextPipeline"}}}, "kontext"),
    ],
)
def test_a_changed_layout_is_a_variant_that_cannot_be_trained_like_the_family(
    name: str, changes: dict[str, Any], variant: str
) -> None:
    found = detect(recorded(name, **changes))
    assert (found.family, found.variant) == (recorded_headers.load(name)["family"], variant)
    assert found.apart.startswith("It ")
    assert found.apart.endswith(".")


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("chroma", {"shapes": {"nerf_blocks.0.norm.scale": (64,)}}, "similar to Chroma, but"),
        (
            "hunyuan-image",
            {"shapes": {"img_in.proj.weight": (3328, 128, 1, 1, 1)}},
            "similar to HunyuanImage-2.1, but img_in",
        ),
        (
            "folder-sdxl",
            {"configs": {"unet": {"in_channels": 9}}},
            "similar to Stable Diffusion XL, but unet has in_channels 9",
        ),
        (
            "folder-sdxl",
            {"configs": {"unet": {"reverse_transformer_layers_per_block": [1]}}},
            "reverse_transformer_layers",
        ),
        ("flux-dev", {"shapes": {"weird_adapter.weight": (4,)}}, "similar to FLUX.1, but also has weird_adapter"),
        (
            "flux-dev",
            {"shapes": {"double_blocks.19.img_attn.qkv.weight": (4,)}},
            "similar to FLUX.1, but double_blocks has 20 blocks, not 19",
        ),
    ],
)
def test_a_changed_layout_does_not_match_the_family(name: str, changes: dict[str, Any], words: str) -> None:
    found = detect(recorded(name, **changes))
    assert (found.family, found.role) == (None, "unknown")
    assert words in found.evidence[0]


def test_a_shape_with_other_dimensions_does_not_match() -> None:
    found = detect(recorded("sdxl", shapes={FIRST: (320, 4)}))
    assert found.family is None
    assert "is 320x4, not 320x4x3x3" in found.rejected["sdxl"]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=6)
    | st.sampled_from(["StableDiffusionXLPipeline", 4, 768]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
config_keys = st.sampled_from(["_class_name", "in_channels", "text_encoder", "prediction_type", "guidance_embeds"])


@given(
    st.sampled_from(recorded_headers.NAMES),
    st.dictionaries(
        st.sampled_from(["", "unet", "transformer", "scheduler"]), st.dictionaries(config_keys, values), max_size=4
    ),
    st.dictionaries(
        st.sampled_from([FIRST, LABEL, "img_in.weight", "v_pred", "a"]), st.lists(st.integers(0, 2**40), max_size=5)
    ),
)
@settings(deadline=None, max_examples=50)
def test_random_headers_never_crash(name: str, configs: dict[str, Any], shapes: dict[str, list[int]]) -> None:
    base = recorded(name, shapes={key: tuple(shape) for key, shape in shapes.items()})
    found = detect(dataclasses.replace(base, configs={**base.configs, **configs}))
    assert found.evidence
    assert all(text == printable(text) for text in (*found.evidence, *found.rejected.values()))


def test_the_role_depends_on_the_parts_in_a_file() -> None:
    assert detect(recorded("sdxl")).role == "checkpoint"
    bare = detect(recorded("sdxl", drop=["first_stage_model.", "conditioner."]))
    assert (bare.family, bare.role) == ("sdxl", "diffusion_model")
    assert "contains no text encoders and VAE" in bare.evidence


class TestPrediction:
    def test_v_pred_marker(self) -> None:
        found = detect(
            recorded("sdxl", shapes={"v_pred": (0,), "ztsnr": (0,)}, metadata={"modelspec.prediction_type": "epsilon"})
        )
        assert (found.family, found.prediction) == ("sdxl", "v_prediction")
        assert found.zero_terminal_snr
        assert "epsilon is ignored: stated in its metadata" in found.evidence
        assert any("ztsnr" in reason for reason in found.evidence)

    def test_markers_are_found_with_and_without_the_prefix(self) -> None:
        for name, marker in (("sdxl", f"{DENOISER}v_pred"), ("unet-sdxl-diffusers", "v_pred")):
            found = detect(recorded(name, shapes={marker: (0,)}))
            assert (found.family, found.prediction, found.zero_terminal_snr) == ("sdxl", "v_prediction", False)

    def test_metadata_of_trainers_and_checkpoints_decides(self) -> None:
        assert detect(recorded("sd2", metadata={"global_step": "220000"})).prediction == "v_prediction"
        assert detect(recorded("sd2", metadata={"global_step": "110000"})).is_prediction_certain
        assert not detect(recorded("sd15", metadata={"global_step": "220000"})).is_prediction_certain
        assert detect(recorded("sd15", metadata={"ss_zero_terminal_snr": "True"})).zero_terminal_snr

    def test_a_scheduler_config_sets_zero_terminal_snr(self) -> None:
        changed = recorded("folder-sdxl", configs={"scheduler": {"rescale_betas_zero_snr": True}})
        assert detect(changed).zero_terminal_snr
        assert detect(recorded("folder-sdxl")).zero_terminal_snr is False

    def test_metadata_with_only_the_prediction_leaves_zero_terminal_snr_unknown(self) -> None:
        found = detect(recorded("sdxl", drop=["v_pred"], metadata={"modelspec.prediction_type": "v"}))
        assert (found.prediction, found.zero_terminal_snr) == ("v_prediction", None)

    def test_metadata(self) -> None:
        assert detect(recorded("sd15", metadata={"modelspec.prediction_type": "v"})).prediction == "v_prediction"
        assert detect(recorded("sd15", metadata={"modelspec.prediction_type": "<img>"})).prediction == "epsilon"

    def test_scheduler_config(self) -> None:
        changed = recorded("folder-sdxl", configs={"scheduler": {"prediction_type": "v_prediction"}})
        assert detect(changed).prediction == "v_prediction"
        wild = recorded("folder-sdxl", configs={"scheduler": {"prediction_type": ["v_prediction"]}})
        assert detect(wild).prediction == "epsilon"

    def test_a_prediction_is_certain_only_when_the_file_or_family_determines_it(self) -> None:
        assert not detect(recorded("sd2")).is_prediction_certain
        assert not detect(recorded("sd15")).is_prediction_certain
        assert detect(recorded("sd15", metadata={"modelspec.prediction_type": "epsilon"})).is_prediction_certain
        assert detect(recorded("folder-sd21")).is_prediction_certain
        assert detect(recorded("anima")).is_prediction_certain

    def test_the_prediction_of_sd2_for_768_pixels_comes_from_metadata_scheduler_or_user(self) -> None:
        told = recorded("sd2", metadata={"modelspec.prediction_type": "v"})
        assert detect(told).prediction == "v_prediction"
        scheduled = recorded("folder-sd21", configs={"scheduler": {"prediction_type": "v_prediction"}})
        assert detect(scheduled).prediction == "v_prediction"
        silent = detect(recorded("sd2"))
        assert silent.prediction == "epsilon"
        assert "set the prediction to v_prediction" in silent.evidence[-1]

    def test_a_flow_family_predicts_flow_whatever_the_metadata_states(self) -> None:
        for name in ("lumina2", "hunyuan-image", "anima", "sd3-medium"):
            assert detect(recorded(name, metadata={"modelspec.prediction_type": "epsilon"})).prediction == "flow"

    def test_usual_for_the_family(self) -> None:
        assert [detect(recorded(name)).prediction for name in ("sd15", "sdxl", "sd3-medium", "flux-dev")] == [
            "epsilon", "epsilon", "flow", "flow",
        ]  # fmt: skip


def test_variants() -> None:
    names = ("flux-dev", "flux-schnell", "sd3-medium", "sd35-medium", "sd35-large")
    assert [detect(recorded(name)).variant for name in names] == [
        "dev",
        "schnell",
        "3-medium",
        "3.5-medium",
        "3.5-large",
    ]


class TestLora:
    def test_kohya_rank_and_alpha(self) -> None:
        found = detect(recorded("lora-kohya-sd15"))
        assert (found.role, found.rank, found.alpha) == ("lora", 4, 2.0)

    def test_peft(self) -> None:
        keys = ("unet.down.0.to_k.lora_A.weight", "unet.down.0.to_k.lora_B.weight")
        found = detect(Header(Path("x"), {key: TensorInfo("F32", (8, 8)) for key in keys}, {}, "safetensors"))
        assert (found.family, found.role, found.rank, found.alpha) == (None, "lora", 8, None)

    def test_an_invalid_alpha_is_ignored(self) -> None:
        for text in ("nan", "x", ""):
            assert detect(recorded("lora-kohya-sd15", metadata={"ss_network_alpha": text})).alpha is None


def test_an_unknown_model_has_a_reason_for_each_family() -> None:
    found = detect(Header(Path("x"), {"weight": TensorInfo("F32", (2,))}, {}, "safetensors"))
    assert found == Detection(None, "unknown", "", None, "F32", found.evidence, found.rejected, format="safetensors")
    assert set(found.rejected) == set(load_families())


FACTS = "title = ''\nprediction = ''\nsources = []\n"


@pytest.mark.parametrize(
    "text",
    [
        "id = 'x'",
        "nonsense",
        f"id = 'other'\n{FACTS}[[signatures]]\nlayout = 'original'\npresent = ['a']",
        f"id = 'x'\n{FACTS}[[signatures]]\nlayout = 'original'\npresnt = ['a']",
        f"id = 'x'\n{FACTS}[[signatures]]\nlayout = 'original'",
        f"id = 'x'\n{FACTS}[[signatures]]\nlayout = 'file'\npresent = ['a']",
    ],
)
def test_the_error_for_an_invalid_family_file_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(DetectionError, match=r"x\.toml"):
        families.load_families(tmp_path)


def test_a_family_is_added_by_adding_a_file(tmp_path: Path) -> None:
    for path in Path(families.__file__).parent.glob("*.toml"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "toy.toml").write_text(
        "id = 'toy'\ntitle = 'Toy'\nprediction = 'flow'\nsources = []\n"
        "[[signatures]]\nlayout = 'original'\nshapes.'toy.weight' = [4, '*']\n"
    )
    known = families.load_families(tmp_path)
    toy = Header(Path("x"), {"toy.weight": TensorInfo("F32", (4, 9))}, {}, "safetensors")
    assert detect(toy, known).family == "toy"
    assert detect(recorded("sdxl"), known).family == "sdxl"
