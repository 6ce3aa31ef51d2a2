"""Where a network changes a model: every layer of the recorded headers, in every naming of the network and of the model."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.support import recorded_roles
from tests.support.recorded_headers import recorded
from trainer_core.models.header import Header, TensorInfo
from trainer_core.models.loaders import table
from trainer_core.models.renaming import layers
from trainer_core.weights.networks import modules
from trainer_core.weights.networks.places import Index, places

# By family: the recorded header with the names of the original code, and the recorded folder of diffusers.
PAIRS = [
    ("sd15", "sd15", "folder-sd15"),
    ("sd2", "sd2", "folder-sd21"),
    ("sdxl", "sdxl", "folder-sdxl"),
    ("sd3", "sd35-large", "folder-sd35-large"),
    ("sd3", "sd35-medium", "folder-sd35-medium"),
    ("sd3", "sd3-medium", "folder-sd3"),
    ("flux", "flux-dev", "folder-flux-dev"),
    ("flux", "flux-schnell", "folder-flux-schnell"),
    ("flux2", "flux2-klein-4b", "folder-flux2-klein-4b"),
    ("flux2", "flux2-dev", "folder-flux2-dev"),
    ("chroma", "chroma", "folder-chroma"),
    ("lumina2", "lumina2", "folder-lumina2"),
    ("z_image", "z-image", "folder-z-image"),
    ("auraflow", "auraflow", "folder-auraflow"),
    ("sana", "sana-1600m", "folder-sana-1600m"),
    ("hunyuan_image", "hunyuan-image", "folder-hunyuan-image"),
    ("anima", "anima", "folder-anima"),
]
ALONE = {
    "folder-qwen-image": "qwen_image",
    "folder-hidream": "hidream",
    "folder-pixart-sigma": "pixart",
    "folder-kolors": "kolors",
}
"""Families of which only the folder is recorded, or whose original code has the same names."""


def shapes(header: Header) -> dict[str, tuple[int, ...]]:
    """The layers of a denoiser, and the shape of the weight of each."""
    return {name: layer.shape for name, layer in Index(header).denoiser()}


@pytest.mark.parametrize(("family", "original", "folder"), PAIRS, ids=[row[1] for row in PAIRS])
def test_the_layers_of_the_original_code_and_of_diffusers_stand_for_each_other(
    family: str, original: str, folder: str
) -> None:
    ours, theirs = shapes(recorded(original)), shapes(recorded(folder))
    made = {}
    for name, shape in ours.items():
        found = layers.parts(family, name) or (layers.Part(name, 0, 1, 1),)
        made |= {part.name: (shape[0] * part.size // part.of, *shape[1:]) for part in found}
    made.pop("norm_final", None)  # Lumina2 has this norm, and never uses it.
    assert made == theirs


@pytest.mark.parametrize(("family", "original", "folder"), PAIRS, ids=[row[1] for row in PAIRS])
def test_each_layer_is_found_in_a_model_of_the_other_naming_with_its_whole_weight(
    family: str, original: str, folder: str
) -> None:
    models = (recorded(original), recorded(folder))
    known = [shapes(model) for model in models]
    for model, names in ((models[0], known[1]), (models[1], known[0])):
        index = Index(model)
        assert index.family == family
        taken: dict[str, list[tuple[int, int]]] = {}
        for name, shape in names.items():
            if name == "norm_final":
                continue
            for key in (f"diffusion_model.{name}", f"transformer.{name}", f"lora_unet_{name.replace('.', '_')}"):
                layer = index.layer(key)
                assert layer is not None, key
                assert layer.shape == shape
                assert sum(target.rows for target in layer.targets) == shape[0]
            taken_here = index.layer(f"diffusion_model.{name}")
            assert taken_here
            for target in taken_here.targets:
                taken.setdefault(target.tensor, []).append((target.start, target.start + target.rows))
        for tensor, ranges in taken.items():
            whole = sorted(set(ranges))
            assert whole[0][0] == 0
            assert all(one[1] == other[0] for one, other in itertools.pairwise(whole)), tensor
            assert whole[-1][1] == model.tensors[tensor].shape[0]


@pytest.mark.parametrize("name", sorted({row[1] for row in PAIRS} | {row[2] for row in PAIRS} | set(ALONE)))
def test_each_layer_is_found_under_its_own_name_in_every_form(name: str) -> None:
    model = recorded(name)
    index = Index(model, ALONE.get(name, ""))
    for layer, found in index.denoiser():
        flat = layer.replace(".", "_")
        for key in (
            layer, f"diffusion_model.{layer}", f"unet.{layer}", f"transformer.{layer}", f"base_model.model.{layer}",
            f"lora_unet_{flat}", f"lycoris_{flat}", f"lora_transformer_{flat}",
        ):  # fmt: skip
            assert index.layer(key) == found, key


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl", "sd3", "flux", "chroma", "lumina2", "anima"])
def test_every_recorded_name_that_comfyui_or_diffusers_load_has_a_place(family: str) -> None:
    originals = [row[1] for row in PAIRS if row[0] == family]
    indexes = [Index(recorded(name)) for name in originals]
    lacking = [
        name
        for name, place in table.places(family).items()
        if place.naming in table.DENOISER
        and (place.in_comfyui or place.in_diffusers)
        and not any(index.layer(name) for index in indexes)
    ]
    assert lacking == []


@pytest.mark.parametrize(
    ("model", "key", "tensor", "start", "rows"),
    [
        ("sd15", "lora_te_text_model_encoder_layers_3_self_attn_q_proj",
         "cond_stage_model.transformer.text_model.encoder.layers.3.self_attn.q_proj.weight", 0, 768),
        ("sd2", "lora_te_text_model_encoder_layers_3_self_attn_v_proj",
         "cond_stage_model.model.transformer.resblocks.3.attn.in_proj_weight", 2048, 1024),
        ("sdxl", "lora_te1_text_model_encoder_layers_3_mlp_fc1",
         "conditioner.embedders.0.transformer.text_model.encoder.layers.3.mlp.fc1.weight", 0, 3072),
        ("sdxl", "lora_te2_text_model_encoder_layers_31_self_attn_k_proj",
         "conditioner.embedders.1.model.transformer.resblocks.31.attn.in_proj_weight", 1280, 1280),
        ("sdxl", "text_encoder_2.text_model.encoder.layers.0.mlp.fc2",
         "conditioner.embedders.1.model.transformer.resblocks.0.mlp.c_proj.weight", 0, 1280),
        ("folder-sdxl", "lora_te2_text_model_encoder_layers_31_self_attn_k_proj",
         "text_encoder_2/text_model.encoder.layers.31.self_attn.k_proj.weight", 0, 1280),
        ("t5xxl", "lora_te3_encoder_block_0_layer_0_SelfAttention_q", "encoder.block.0.layer.0.SelfAttention.q.weight", 0, 4096),
        ("clip-g", "lora_te2_text_model_encoder_layers_0_mlp_fc1", "text_model.encoder.layers.0.mlp.fc1.weight", 0, 5120),
        ("clip-l", "lora_te_text_model_encoder_layers_0_mlp_fc1", "text_model.encoder.layers.0.mlp.fc1.weight", 0, 3072),
        # The first LoRAs of diffusers, and those of XLabs.
        ("folder-sd15", "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out",
         "unet/down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0.weight", 0, 320),
        ("flux-dev", "transformer.single_transformer_blocks.7.proj_mlp", "single_blocks.7.linear1.weight", 9216, 12288),
        ("sd15", "oft_unet_input_blocks_1_1_proj_in", "model.diffusion_model.input_blocks.1.1.proj_in.weight", 0, 320),
    ],
)  # fmt: skip
def test_a_name_leads_to_these_rows(model: str, key: str, tensor: str, start: int, rows: int) -> None:
    header = recorded(model)
    layer = Index(header, {"clip-l": "sdxl", "clip-g": "sdxl", "t5xxl": "sd3"}.get(model, "")).layer(key)
    assert layer is not None
    (target,) = layer.targets
    assert (target.tensor, target.start, target.rows) == (tensor, start, rows)


def test_halves_that_diffusers_swaps_are_swapped_back() -> None:
    layer = Index(recorded("flux-dev")).layer("transformer.norm_out.linear")
    assert layer is not None
    name = "final_layer.adaLN_modulation.1.weight"
    assert [tuple(target) for target in layer.targets] == [(name, 3072, 3072, 0), (name, 0, 3072, 3072)]


def test_only_the_last_context_norm_of_sd3_is_swapped() -> None:
    index = Index(recorded("sd35-medium"))
    last, other = (index.layer(f"transformer.transformer_blocks.{number}.norm1_context.linear") for number in (23, 22))
    assert last
    assert other
    assert [target.start for target in last.targets] == [1536, 0]
    assert [target.start for target in other.targets] == [0]


@pytest.mark.parametrize(
    ("lora", "model"),
    [
        ("flux2-klein-4b", "flux2-klein-4b"),
        ("flux2-klein-4b", "folder-flux2-klein-4b"),
        ("flux2-klein-9b", "flux2-klein-9b"),
        ("flux-kontext", "flux-dev"),
        ("z-image", "z-image"),
        ("z-image", "folder-z-image"),
        ("krea2", "krea2"),
        ("qwen-image", "folder-qwen-image"),
    ],
)
def test_each_module_of_a_lora_of_musubi_tuner_has_a_place_in_its_model(lora: str, model: str) -> None:
    header = recorded_roles.role(f"lora-musubi-{lora}")
    found = places(modules.of(header).modules, recorded(model))
    assert found.found
    assert not found.missing


def test_a_layer_of_another_model_is_missing() -> None:
    header = Header(
        Path("lora"),
        {
            f"lora_unet_{name}.lora_{side}.weight": TensorInfo("F16", shape)
            for name in ("input_blocks_1_1_proj_in", "double_blocks_0_img_attn_qkv")
            for side, shape in (("up", (320, 4)), ("down", (4, 320)))
        },
        {},
        "safetensors",
    )
    found = places(modules.of(header).modules, recorded("sd15"))
    assert list(found.found) == ["lora_unet_input_blocks_1_1_proj_in"]
    assert [module.key for module in found.missing] == ["lora_unet_double_blocks_0_img_attn_qkv"]


def test_a_number_of_any_length_in_a_key_is_no_layer() -> None:
    index = Index(recorded("flux-dev"))
    assert index.layer(f"diffusion_model.double_blocks.{'9' * 5000}.img_attn.qkv") is None
    assert index.layer("lora_unet_" + "a_" * 5000) is None
    assert index.layer("") is None
