"""Files as they are found: complete models with what trainers and mergers left in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.test_detection import recorded
from trainer_core.detection import detect
from trainer_core.header import Header, TensorInfo

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
def test_what_was_left_in_a_file_does_not_make_it_another_model(name: str, left: str) -> None:
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
def test_part_of_another_model_does(name: str, other: str) -> None:
    assert found_with(name, other).family is None


@pytest.mark.parametrize("word", ["state_dict.", "module.", "_orig_mod.", "model.", "model_ema.", "module._orig_mod."])
@pytest.mark.parametrize("name", ["sd15", "flux-dev", "unet-sdxl-diffusers", "lumina2"])
def test_what_programs_put_in_front_of_all_names_hides_no_model(name: str, word: str) -> None:
    clean = detect(recorded(name))
    tensors = {word + key: info for key, info in recorded(name).tensors.items()}
    found = detect(Header(Path("model.safetensors"), tensors, {}, "safetensors"))
    assert (found.role, found.family, found.variant) == (clean.role, clean.family, clean.variant)
    assert found.prefix.startswith(word)
    assert any(word in sentence for sentence in found.evidence)


def test_a_piece_of_a_model_says_that_it_is_one() -> None:
    half = dict(list(recorded("flux-dev").tensors.items())[:300])
    found = detect(Header(Path("flux-00001-of-00003.safetensors"), half, {}, "safetensors"))
    assert found.role == "unknown"
    assert "one of 3 files" in found.evidence[0]


def test_a_model_behind_a_word_of_its_own_is_not_taken_for_the_vae_beside_it() -> None:
    tensors = {f"model.{key}": info for key, info in recorded("auraflow").tensors.items()}
    tensors |= {f"vae.{key}": info for key, info in recorded("vae-sd").tensors.items()}
    found = detect(Header(Path("aura.safetensors"), tensors, {}, "safetensors"))
    assert (found.role, found.family, found.parts) == ("diffusion_model", "auraflow", ("vae",))


def test_names_behind_a_thousand_words_are_looked_behind_a_few_times_only() -> None:
    tensors = {"model." * 1000 + key: info for key, info in recorded("flux-dev").tensors.items()}
    assert detect(Header(Path("x.safetensors"), tensors, {}, "safetensors")).role == "unknown"
