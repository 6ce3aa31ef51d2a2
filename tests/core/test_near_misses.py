"""Real-world files: complete models that still contain data from trainers and merge tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.recorded_headers import load, recorded, write_file
from trainer_core.models import header
from trainer_core.models.detection import detect
from trainer_core.models.families import load_families
from trainer_core.models.header import Header, TensorInfo

LORA = "lora_unet_down_blocks_1_attentions_0_proj_in.lora_down.weight"
WORDS = "conditioner.embedders.0.transformer.text_model.embeddings.position_ids"


def found_with(name: str, *keys: str):
    tensors = {**recorded(name).tensors, **{key: TensorInfo("F16", (4, 4)) for key in keys}}
    return detect(Header(Path("model.safetensors"), tensors, {}, "safetensors"))


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("sd15", "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"),
        ("sd15", "embedding_manager.embedder.transformer.text_model.embeddings.position_embedding.weight"),
        ("sd15", "model_ema.decay"),
        ("sd15", "alphas_cumprod"),
        ("sd15", "cond_stage_model.logit_scale"),
        ("sd15", "callbacks.0.best"),
        ("sdxl", "denoiser.sigmas"),
        ("sdxl", WORDS),
        ("unet-sdxl-diffusers", LORA),
        ("flux-dev", "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight"),
        ("flux-dev", "vae.decoder.conv_in.weight"),
        ("flux-dev", "scaled_fp8"),
        ("sd35-large", "first_stage_model.decoder.conv_in.weight"),
    ],
)
def test_leftover_data_does_not_change_the_detection(name: str, left: str) -> None:
    clean, found = detect(recorded(name)), found_with(name, left)
    assert (found.family, found.variant, found.prediction) == (clean.family, clean.variant, clean.prediction)
    assert found.role in ("checkpoint", "diffusion_model")


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("sd15", "control_model.input_blocks.0.0.weight"),
        ("sdxl", "double_blocks.0.img_attn.qkv.weight"),
        ("flux-dev", "nerf_blocks.0.norm.scale"),
        ("flux-dev", "transformer_blocks.0.attn.to_q.weight"),
    ],
)
def test_part_of_another_model_changes_the_detection(name: str, other: str) -> None:
    assert found_with(name, other).family is None


@pytest.mark.parametrize("word", ["state_dict.", "module.", "_orig_mod.", "model.", "model_ema.", "module._orig_mod."])
@pytest.mark.parametrize("name", ["sd15", "flux-dev", "unet-sdxl-diffusers", "lumina2"])
def test_a_model_is_detected_behind_the_prefixes_of_programs(name: str, word: str) -> None:
    clean = detect(recorded(name))
    tensors = {word + key: info for key, info in recorded(name).tensors.items()}
    found = detect(Header(Path("model.safetensors"), tensors, {}, "safetensors"))
    assert (found.role, found.family, found.variant) == (clean.role, clean.family, clean.variant)
    assert found.prefix.startswith(word)
    assert any(word in sentence for sentence in found.evidence)


def shard(
    folder: Path, name: str, number: int, count: int, *, beside: tuple[int, ...] = (), index: bool = False
) -> Path:
    """One shard of a recorded model as a file, with other shards and an index beside it."""
    tensors = [(key.removeprefix("transformer/"), each) for key, each in load(name)["tensors"].items()]
    size = -(-len(tensors) // count)
    paths = {}
    for each in (number, *beside):
        part = dict(tensors[size * (each - 1) : size * each])
        paths[each] = write_file(folder / f"model-{each:05}-of-{count:05}.safetensors", part)
    if index:
        (folder / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    return paths[number]


@pytest.mark.parametrize(
    "name", ["flux-dev", "folder-flux-dev", "z-image", "krea2", "folder-qwen-image", "hunyuan-image"]
)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_shard_names_its_family_and_its_number(tmp_path: Path, name: str, number: int) -> None:
    found = detect(header.read(shard(tmp_path, name, number, 3)))
    wanted = load(name)["family"]
    assert (found.role, found.family, found.base_family in (wanted, None)) == ("unknown", None, True)
    title = load_families()[wanted].title if found.base_family else "model"
    assert f"is part {number} of 3 of a" in found.evidence[0]
    assert title in found.evidence[0]
    if number == 2:
        assert found.base_family == wanted


@pytest.mark.parametrize(
    ("beside", "index", "words"),
    [
        ((), False, "parts 1 and 3 are missing in its folder; download the whole model"),
        ((1,), True, "part 3 is missing in its folder; download the whole model"),
        ((1, 3), True, "choose model.safetensors.index.json in its folder, or the whole folder"),
        ((1, 3), False, "all parts are in its folder, but their .index.json is missing"),
    ],
)
def test_a_shard_says_what_lies_beside_it(tmp_path: Path, beside: tuple[int, ...], index: bool, words: str) -> None:
    path = shard(tmp_path, "flux-dev", 2, 3, beside=beside, index=index)
    assert words in detect(header.read(path)).evidence[0]


@pytest.mark.parametrize("name", ["t5xxl", "vae-flux"])
def test_a_shard_of_a_part_is_named(tmp_path: Path, name: str) -> None:
    found = detect(header.read(shard(tmp_path, name, 1, 2)))
    assert (found.role, "is part 1 of 2 of a " in found.evidence[0]) == ("unknown", True)


def test_the_only_shard_of_a_model_is_the_model(tmp_path: Path) -> None:
    assert detect(header.read(shard(tmp_path, "flux-dev", 1, 1))).family == "flux"


def test_a_prefixed_model_is_not_mistaken_for_the_vae_in_its_file() -> None:
    tensors = {f"model.{key}": info for key, info in recorded("auraflow").tensors.items()}
    tensors |= {f"vae.{key}": info for key, info in recorded("vae-sd").tensors.items()}
    found = detect(Header(Path("aura.safetensors"), tensors, {}, "safetensors"))
    assert (found.role, found.family, found.parts) == ("diffusion_model", "auraflow", ("vae",))


def test_only_a_few_prefixes_are_removed() -> None:
    tensors = {"model." * 1000 + key: info for key, info in recorded("flux-dev").tensors.items()}
    assert detect(Header(Path("x.safetensors"), tensors, {}, "safetensors")).role == "unknown"
