"""Truncated, damaged and random headers match their own kind or none."""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.recorded_roles import LORAS, NAMES, load, made, sized
from trainer_core.models.detection import bases, detect
from trainer_core.models.header import Header, TensorInfo
from trainer_core.text import printable


# Odd numbers, because another family may be 64 wider: Allegro is, than Sana.
@given(st.sampled_from(LORAS), st.floats(0.02, 0.98), st.integers(0, 2**32), st.sampled_from([-1, 1, 7, 63]))
@settings(deadline=None, max_examples=50)
def test_part_of_a_lora_matches_its_family_or_none(name: str, share: float, seed: int, more: int) -> None:
    chance = random.Random(seed)
    kept = {key: info for key, info in sized(name).items() if chance.random() < share}
    wanted = bases.load().get(load(name)["base"])
    found = detect(made(kept))
    if wanted and found.base_family not in (wanted.id, None):
        alike = " ".join(found.evidence).partition("a rarely trained family with the same layers: ")[2]
        assert wanted.title in alike
    grown = {key: info._replace(shape=tuple(max(1, size + more) for size in info.shape)) for key, info in kept.items()}
    if load(name)["kind"] in ("lora", "locon", "dora"):
        assert detect(made(grown)).base_family is None


PARTS = [name for name in NAMES if load(name)["role"] in ("vae", "text_encoder")]


@given(st.sampled_from(PARTS), st.integers(0, 12), st.integers(0, 2**32), st.sampled_from([-1, 1, 7, 64]))
@settings(deadline=None, max_examples=50)
def test_a_damaged_vae_or_text_encoder_matches_its_kind_or_none(name: str, lost: int, seed: int, more: int) -> None:
    chance = random.Random(seed)
    tensors = sized(name)
    gone = set(chance.sample(list(tensors), min(lost, len(tensors) - 1)))
    kept = {key: info for key, info in tensors.items() if key not in gone}
    assert detect(made(kept)).variant in (load(name)["kind"], "")
    grown = {key: info._replace(shape=tuple(max(1, size + more) for size in info.shape)) for key, info in kept.items()}
    assert detect(made(grown)).variant in ("", "taesd")


@given(
    st.dictionaries(
        st.sampled_from(["emb_params", "clip_l", "controlnet_blocks.0.weight", "lora_controlnet", "x.lora_A.weight", "x.lora_B.weight",
            "lllite_unet_a.down.0.weight", "decoder.conv_in.weight", "embed_tokens.weight", "x.hada_w1_a", "x.lokr_w1", "x.oft_blocks", "a.down"]),
        st.lists(st.integers(0, 2**40), max_size=5), max_size=6),
    st.dictionaries(st.sampled_from(["modelspec.architecture", "ss_base_model_version", "lora_adapter_metadata"]), st.text(max_size=9), max_size=3),
)  # fmt: skip
@settings(deadline=None, max_examples=80)
def test_random_headers_never_crash(shapes: dict[str, list[int]], metadata: dict[str, str]) -> None:
    tensors = {key: TensorInfo("F16", tuple(shape)) for key, shape in shapes.items()}
    found = detect(Header(Path("x"), tensors, metadata, "safetensors"))
    assert found.evidence
    assert all(text == printable(text) for text in found.evidence)
    assert found.role in ("embedding", "unknown", "lora", "controlnet")
