"""The base model of a LoRA is found in the names of every program, and never a wrong one. tests/support/peer_files.py has the files."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from scripts import record_base_layers
from tests.support import peer_files, peer_layouts, recorded_models
from tests.support.peer_files import CASES, WRITERS, found_in, outcome
from tests.support.recorded_roles import made, role, sized
from trainer_core.models.detection import bases, detect
from trainer_core.models.detection.bases import Layer
from trainer_core.models.families import load_families
from trainer_core.models.header import TensorInfo

LAYOUTS = tuple(dict.fromkeys(case.layout for case in CASES))
RECORDED = json.loads(record_base_layers.FILE.read_text("utf-8"))
# Models whose blocks have nothing that another family lacks: their layers alone decide nothing.
ALIKE = {
    "folder-cogview3": "cogview", "folder-cogview4": "cogview", "mage-flow-diffusers": "mage_flow", "ltx-video-13b": "ltx_video",
    "folder-sana-600m": "sana", "sana-600m": "sana",
}  # fmt: skip


def test_the_layers_are_those_of_the_recorded_headers() -> None:
    again = "python scripts/record_base_layers.py writes it anew"
    assert record_base_layers.FILE.read_text("utf-8") == record_base_layers.text(), again


def test_every_family_has_a_table_of_layers() -> None:
    assert set(load_families()) <= set(bases.load())
    assert set(RECORDED) <= set(bases.load())
    for base in bases.load().values():
        assert base.layers or base.modules, base.id


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_lora_of_another_trainer_is_given_a_wrong_base_model(layout: str) -> None:
    for case in (case for case in CASES if case.layout == layout):
        found = found_in(case)
        writer = WRITERS[case.writer]
        assert (found.role, found.family) == ("lora", None), case.name
        assert found.variant in (writer.kind, "locon"), case.name
        if writer.kind in ("lora", "dora"):
            assert found.rank == peer_files.RANK, case.name
        assert outcome(case, found) != "wrong", (case.name, found.base_family, found.evidence)
        # Where the blocks are those of one family, nothing is left open.
        if case.selection == "blocks" and not writer.kind.startswith("oft") and layout not in ALIKE:
            usual = bases.load()[case.family].rare
            assert outcome(case, found) in (("right", "usual") if usual else ("right",)), (case.name, found.evidence)


def test_most_loras_of_other_trainers_are_recognised() -> None:
    counted = Counter(outcome(case, found_in(case)) for case in CASES)
    assert len(CASES) >= 1000
    assert counted["right"] >= 900
    assert {row[0] for row in peer_layouts.ROWS.values()} <= {case.family for case in CASES}


def test_the_metadata_of_the_trainer_decides_what_the_layers_leave_open() -> None:
    for case in CASES:
        if outcome(case, found_in(case)) != "right":
            name = bases.load()[case.family].said[0]
            assert found_in(case, modelspec__architecture=f"{name}/lora").base_family == case.family, case.name


@pytest.mark.parametrize("family", RECORDED)
def test_no_layer_alone_is_given_to_a_wrong_family(family: str) -> None:
    title = bases.load()[family].title
    for name, text in RECORDED[family]["layers"].items():
        for pair in text.split():
            inputs, _, outputs = pair.partition(">")
            found, why = bases.base_of([Layer(name, (), int(inputs), int(outputs))], {})
            assert found in (family, None) or title in " ".join(why), (name, pair, found)


def test_part_of_an_auraflow_lora_is_not_taken_for_flux() -> None:
    kept = {key: info for key, info in sized("lora-peft-auraflow").items() if "single_transformer_blocks" in key}
    attention = {key: info for key, info in kept.items() if ".attn.to_" in key and ".ff." not in key}
    found = detect(made(attention))
    assert found.base_family in ("auraflow", None)
    assert "AuraFlow" in " ".join(found.evidence)


def test_layers_of_unknown_sizes_belong_to_no_family() -> None:
    wide = {
        key: TensorInfo("BF16", tuple(8 + size if size > 8 else size for size in info.shape))
        for key, info in sized("lora-peft-flux").items()
    }
    assert detect(made(wide)).base_family is None


# The names that programs write, each from the source named in bases.toml.
NAMES = {
    # sd-scripts
    "stable-diffusion-v1/lora": "sd15", "stable-diffusion-v2-768-v/lora": "sd2", "stable-diffusion-xl-v1-base/lora": "sdxl",
    "stable-diffusion-3-5-large/lora": "sd3", "flux-1-dev/lora": "flux", "flux-1-schnell/lora": "flux", "chroma/lora": "chroma",
    "lumina-2/lora": "lumina2", "hunyuan-image-2.1/lora": "hunyuan_image", "anima-preview/lora": "anima", "sd_v1": "sd15",
    "sdxl_base_v1-0": "sdxl", "flux1": "flux", "lumina2": "lumina2",
    # OneTrainer
    "Anima/lora": "anima", "Chroma1/lora": "chroma", "Ernie/lora": "ernie_image", "Flux.2/lora": "flux2", "Flux.1-dev/lora": "flux",
    "Flux.1-fill-dev/lora": "flux", "hidream-i1/lora": "hidream", "hunyuan-video/lora": "hunyuan_video", "Ideogram/lora": "ideogram4",
    "Krea-2/lora": "krea2", "pixart-alpha/lora": "pixart", "pixart-sigma/lora": "pixart", "Qwen-Image/lora": "qwen_image",
    "sana/lora": "sana", "stable-diffusion-v1-inpainting/lora": "sd15", "stable-diffusion-v2-depth/lora": "sd2",
    "stable-diffusion-v3.5/lora": "sd3", "stable-diffusion-v3-medium/lora": "sd3", "stable-cascade-v1-prior/lora": "stable_cascade",
    "Z-Image/lora": "z_image",
    # musubi-tuner
    "wan2.1": "wan", "framepack": "hunyuan_video", "Flux.2-klein-4b": "flux2", "Qwen-Image-Edit-2511": "qwen_image",
    "@@Qwen-Image-Edit-Plus@@": "qwen_image", "Kandinsky-5": "kandinsky5", "hunyuan-video-1.5": "hunyuan_video15",
    "HiDream-O1-Image": "hidream_o1", "Ideogram-4": "ideogram4", "flux_kontext": "flux", "flux_2_dev": "flux2", "hunyuan_video_1_5": "hunyuan_video15",
    "hidream_o1_image": "hidream_o1", "krea2": "krea2", "z_image": "z_image",
    # SimpleTuner
    "sd1x-1.5/lora": "sd15", "ltxvideo-0.9.5/lora": "ltx_video", "ltxvideo2-2.3-dev/lora": "ltx2", "sanavideo-2b-480p/lora": "sana_video",
    "sana-sana1.5-4.8b-1024/lora": "sana", "qwen_image-v2.1/lora": "qwen_image21", "qwen_image-edit-v2+/lora": "qwen_image",
    "flux3_image-klein-base/lora": "flux3", "mageflow-edit-turbo/lora": "mage_flow", "boogu_image-v0.1-base/lora": "boogu",
    "hunyuanvideo-t2v-480p/lora": "hunyuan_video15", "kandinsky5-image-t2i-lite-sft/lora": "kandinsky5_image", "cosmos2image-2b/lora": "cosmos",
    "cosmos3-nano/lora": "cosmos3", "pixart_sigma-900m-1024-v0.6/lora": "pixart", "kolors-1.0/lora": "kolors", "wan-t2v-480p-1.3b-2.1/lora": "wan",
    "moss_image-sft/lora": "moss_image", "zlab_i1-3b/lora": "zlab_i1", "minimaxh3-fl2va/lora": "minimax_h3", "omnigen-v1/lora": "omnigen",
    "longcat_image-final/lora": "longcat_image", "longcat_video-final/lora": "longcat_video", "hidream-full/lora": "hidream",
    # ai-toolkit
    "sd_1.5": "sd15", "sd_2.1": "sd2", "sdxl_1.0": "sdxl", "ssd": "sdxl", "flux.1": "flux", "hidream_e1": "hidream", "omnigen2": "omnigen2",
    "f-lite": "f_lite", "zimage": "z_image", "zimage_l2p": "z_image_l2p", "zeta_chroma": "zeta_chroma", "ltx2.5": "ltx2", "wan22_14b": "wan",
    "boogu_image.0.1": "boogu", "prx_pixel": "prx", "chroma_radiance": "chroma", "qwen_image_edit_plus": "qwen_image",
    # hub names, and names of versions that are not known
    "Qwen/Qwen-Image": "qwen_image", "black-forest-labs/FLUX.1-dev": "flux", "flux-9": "", "ltx-video-7": "", "sana-9": "", "wans": "",
}  # fmt: skip


@pytest.mark.parametrize("said", NAMES)
def test_a_name_in_metadata_means_one_family(said: str) -> None:
    assert "".join(bases.named_in({"modelspec.architecture": said})) == NAMES[said]


class TestTextEncodersAlone:
    """LoRAs of text encoders alone. Source of the names: OneTrainer modules/model/*Model.py, lora_text_encoders; ComfyUI comfy/lora.py."""

    @pytest.mark.parametrize(
        ("prefix", "layer", "inputs", "outputs", "family"),
        [
            ("lora_te_text_model_encoder_", "layers_0_self_attn_q_proj", 768, 768, "sd15"),
            ("lora_te_text_model_encoder_", "layers_0_mlp_fc1", 1024, 4096, "sd2"),
            ("lora_te2_text_model_encoder_", "layers_0_mlp_fc2", 5120, 1280, None),
            ("lora_te3_encoder_block_0_", "layer_0_SelfAttention_k", 4096, 4096, None),
            ("text_encoder_3.encoder.block.0.", "layer.0.SelfAttention.v", 4096, 4096, None),
            ("lora_te_model_", "layers_0_self_attn_q_proj", 3584, 3584, "qwen_image"),
            ("text_encoders.qwen25_7b.transformer.model.", "layers.0.mlp.gate_proj", 3584, 18944, "qwen_image"),
            ("lora_te_", "layers_0_self_attn_q_proj", 2304, 2048, None),
            ("lora_te1_model_", "layers_0_mlp_gate_proj", 4096, 14336, "hunyuan_video"),
            ("lora_prior_te_text_model_encoder_", "layers_0_self_attn_k_proj", 1280, 1280, "stable_cascade"),
            ("base_model.model.text_model.encoder.", "layers.0.self_attn.q_proj", 1024, 1024, "sd2"),
            ("text_encoder.text_model.encoder.", "layers.0.self_attn.q_proj", 768, 768, None),
        ],
    )
    def test_a_family_is_named_where_only_it_has_that_encoder(
        self, prefix: str, layer: str, inputs: int, outputs: int, family: str | None
    ) -> None:
        keys = {f"{prefix}{layer}.lora_A.weight": (8, inputs), f"{prefix}{layer}.lora_B.weight": (outputs, 8)}
        found = detect(made({key: TensorInfo("F16", shape) for key, shape in keys.items()}))
        assert (found.role, found.base_family) == ("lora", family), found.evidence
        if family is None:
            assert "nothing in the file shows which" in found.evidence[2]


class TestPrediction:
    """What a LoRA was trained to predict is read from its metadata, and from nothing else."""

    @pytest.mark.parametrize(
        ("metadata", "prediction"),
        [
            ({}, None),
            ({"modelspec__prediction_type": "v"}, "v_prediction"),
            ({"modelspec__prediction_type": "epsilon"}, "epsilon"),
            ({"modelspec__prediction_type": "x"}, None),
            # OneTrainer writes "epsilon" into every LoRA for SDXL.
            ({"modelspec__prediction_type": "epsilon", "ot_config": "{}"}, None),
            ({"modelspec__prediction_type": "epsilon", "ot_config": '{"force_v_prediction": true}'}, "v_prediction"),
            ({"ot_config": "[" * 5000}, None),
        ],
    )
    def test_of_sdxl(self, metadata: dict[str, str], prediction: str | None) -> None:
        found = detect(role("lora-kohya-sdxl", **metadata))
        assert (found.prediction, found.is_prediction_certain) == (prediction, prediction is not None)

    def test_of_flow_models_and_of_unknown_ones(self) -> None:
        assert detect(role("lora-kohya-flux", modelspec__prediction_type="epsilon")).prediction == "flow"
        assert detect(role("lora-peft-wan", modelspec__prediction_type="epsilon")).prediction is None

    def test_zero_terminal_snr(self) -> None:
        said = {"modelspec__prediction_type": "v", "ss_zero_terminal_snr": "True"}
        assert detect(role("lora-kohya-sdxl", **said)).zero_terminal_snr
        assert detect(role("lora-kohya-sdxl")).zero_terminal_snr is None


def test_every_recorded_model_that_is_alone_is_in_the_table() -> None:
    assert {name for name in recorded_models.names() if recorded_models.bare(name)} <= set(LAYOUTS)
