"""A trained model is accepted when it is whole, of its base model's family, finite, and not the base model once more.

An embedding when it has the vectors asked for, in the width of the family, and they are not words as they were.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.support import recorded_headers
from tests.support.trained_models import (
    DENOISER,
    SD15_WORDS,
    SDXL_WORDS,
    Tensors,
    asked,
    folder,
    in_format,
    noise,
    save_bf16,
    sd15,
    sdxl,
    trained,
    wanted,
    words_of,
)
from trainer_core.models.header import BITS
from trainer_core.training.acceptance import Acceptance, accept


@pytest.fixture
def base(tmp_path: Path) -> Path:
    save_file(sd15(), tmp_path / "base.safetensors")
    return tmp_path / "base.safetensors"


def judged(base: Path, tensors: Tensors, plan: dict[str, Any] | None = None) -> Acceptance:
    path = base.with_name("trained.safetensors")
    save_file(tensors, path)
    return accept(path, plan or asked(base))


class TestModels:
    @pytest.mark.parametrize("method", ["full", "dreambooth"])
    def test_a_trained_model_is_accepted(self, base: Path, method: str) -> None:
        found = judged(base, trained(sd15()), asked(base, method=method))
        assert (found.ok, found.reasons, found.notes, found.kind) == (True, (), (), "checkpoint")
        assert found.moved == found.modules > 20
        assert found.size_bytes == base.with_name("trained.safetensors").stat().st_size

    def test_an_unchanged_base_model_is_refused(self, base: Path) -> None:
        found = judged(base, sd15())
        assert found.reasons == ("The model has learnt nothing: its weights are the same as those of the base model.",)
        assert (found.moved, found.modules) == (0, sum(key.startswith(DENOISER) for key in sd15()))

    def test_one_moved_tensor_of_all_is_found(self, base: Path) -> None:
        tensors = sd15()
        tensors[f"{DENOISER}middle_block.0.in_layers.31.weight"][3, 3] += 1e-7
        found = judged(base, tensors)
        assert (found.ok, found.moved) == (True, 1)

    def test_other_prefixes_are_the_same_model(self, tmp_path: Path) -> None:
        base = tmp_path / "base.safetensors"
        save_file({key: tensor for key, tensor in sd15("").items() if "_model" not in key}, base)
        assert judged(base, sd15()).moved == 0
        assert judged(base, trained(sd15())).ok

    @pytest.mark.parametrize(
        ("kind", "by", "moved"), [(np.float16, 1e-3, True), (np.float16, 0, None), (np.float16, 1e-8, None)]
    )
    def test_another_number_format_is_compared_coarsely(
        self, base: Path, kind: type, by: float, moved: bool | None
    ) -> None:
        found = judged(base, in_format(trained(sd15(), by), kind))
        assert found.ok
        assert found.moved == (found.modules if moved else None)
        assert bool(found.notes) == (moved is None)
        assert all("not known" in note for note in found.notes)

    def test_bf16_is_compared_coarsely(self, base: Path, tmp_path: Path) -> None:
        for by, moved in ((1e-2, True), (0, False)):
            found = accept(save_bf16(trained(sd15(), by), tmp_path / "trained.safetensors"), asked(base))
            assert found.ok
            assert bool(found.moved) == moved
        plain, again = (save_bf16(sd15(), tmp_path / f"{name}.safetensors") for name in ("one", "two"))
        assert "learnt nothing" in accept(again, asked(plain)).reasons[0]

    def test_what_was_trained_in_another_format_is_not_called_moved_for_its_rounding(self, tmp_path: Path) -> None:
        base = tmp_path / "base.safetensors"
        save_file(in_format(sd15(), np.float16), base)
        rounded = {key: (tensor * (1 + 2.0**-9)).astype(np.float16) for key, tensor in sd15().items()}
        assert judged(base, rounded).moved
        found = judged(base, rounded, asked(base, half_weights=True, mixed_precision="bf16"))
        assert (found.ok, found.moved) == (True, None)

    @pytest.mark.parametrize(
        ("tensors", "words"),
        [
            (trained(sd15()) | {f"{DENOISER}output_blocks.3.0.in_layers.2.weight": np.full((4, 4), np.nan)}, "NaN"),
            (trained(sd15()) | {SD15_WORDS: np.full((50, 768), np.inf)}, "NaN or infinity in cond_stage_model"),
            (sdxl(), "The result is Stable Diffusion XL, not Stable Diffusion 1.5"),
            (
                {"lora_unet_a.lora_down.weight": np.ones((4, 4)), "lora_unet_a.lora_up.weight": np.ones((4, 4))},
                "a LoRA",
            ),
            ({"layer.weight": np.ones((4, 4))}, "not a known model"),
        ],
    )
    def test_what_is_wrong_is_said(self, base: Path, tensors: Tensors, words: str) -> None:
        found = judged(base, tensors)
        assert not found.ok
        assert words in " ".join(found.reasons)

    def test_a_file_that_is_cut_short_is_refused(self, base: Path) -> None:
        path = base.with_name("trained.safetensors")
        path.write_bytes(base.read_bytes()[:-3])
        assert "the last 3 bytes are missing" in accept(path, asked(base)).reasons[0]

    def test_no_comparison_is_claimed_where_there_was_none(self, base: Path, tmp_path: Path) -> None:
        absent = judged(base, trained(sd15()), asked(tmp_path / "absent.safetensors"))
        other = tmp_path / "other.safetensors"
        save_file({"encoder.weight": noise(4, 4)}, other)
        foreign = judged(base, trained(sd15()), asked(other))
        for found in (absent, foreign):
            assert (found.ok, found.modules, found.moved) == (True, 0, None)
            assert "not compared with the base model" in found.notes[0]

    def test_a_family_that_only_the_engine_knows_is_not_refused(self, base: Path) -> None:
        found = judged(base, trained(sd15()), asked(base, family="dit-of-tomorrow"))
        assert found.ok
        assert "dit-of-tomorrow" in found.notes[0]
        assert judged(base, trained(sd15()), {"model": {"method": "full"}}).ok


class TestFolders:
    def test_a_trained_folder_is_accepted(self, tmp_path: Path) -> None:
        base = folder(tmp_path / "base")
        found = accept(folder(tmp_path / "trained", 1e-3), asked(base))
        assert (found.ok, found.reasons, found.tensors, found.modules, found.moved) == (True, (), 2, 2, 2)
        assert "learnt nothing" in accept(folder(tmp_path / "again"), asked(base)).reasons[0]

    def test_a_missing_shard_is_said(self, tmp_path: Path) -> None:
        path = folder(tmp_path / "trained", 1e-3)
        (path / "unet" / "diffusion_pytorch_model-1.safetensors").unlink()
        assert "diffusion_pytorch_model-1.safetensors is missing" in accept(path, asked("")).reasons[0]

    def test_nan_in_any_shard_is_found(self, tmp_path: Path) -> None:
        path = folder(tmp_path / "trained", np.nan)
        assert "NaN or infinity in unet/block_0.weight, unet/block_1.weight" in accept(path, asked("")).reasons[0]

    def test_links_are_not_followed(self, tmp_path: Path) -> None:
        outside = folder(tmp_path / "outside", 1e-3)
        for number, name in enumerate(("unet/diffusion_pytorch_model-1.safetensors", "vae")):
            path = folder(tmp_path / f"trained{number}", 1e-3)
            (path / name).unlink(missing_ok=True)
            (path / name).symlink_to(outside / name.replace("vae", "unet"))
            assert "contains a link, which Easel does not follow" in accept(path, asked("")).reasons[0]
        # The base model is the user's own, and download caches are made of links.
        linked = folder(tmp_path / "linked")
        for file in (linked / "unet").glob("*.safetensors"):
            file.rename(tmp_path / file.name)
            file.symlink_to(tmp_path / file.name)
        assert accept(outside, asked(linked)).moved == 2

    def test_other_weights_beside_those_that_count_are_left_out(self, tmp_path: Path) -> None:
        path = folder(tmp_path / "trained", 1e-3)
        (path / "unet_ema").mkdir()
        for place in ("unet_ema", "unet"):
            save_file({"ema.weight": np.full(4, np.nan, np.float32)}, path / place / "ema_model.safetensors")
        assert accept(path, asked(folder(tmp_path / "base"))).ok

    def test_a_folder_without_a_model_is_said(self, tmp_path: Path) -> None:
        assert "model_index.json" in accept(tmp_path, asked("")).reasons[0]


class TestEmbeddings:
    def test_trained_vectors_are_accepted(self, base: Path) -> None:
        found = judged(base, words_of(sd15()), wanted(base))
        assert (found.ok, found.reasons, found.notes, found.kind) == (True, (), (), "embedding")
        assert (found.modules, found.moved) == (3, 3)
        assert judged(base, in_format(words_of(sd15()), np.float16), wanted(base)).moved == 3

    def test_sdxl_has_two(self, tmp_path: Path) -> None:
        base = tmp_path / "base.safetensors"
        save_file(sdxl(), base)
        start = {key: sdxl()[name][[7, 8]] for key, name in zip(("clip_l", "clip_g"), SDXL_WORDS, strict=True)}
        plan = wanted(base, "sdxl", 2)
        assert judged(base, {key: value + np.float32(0.01) for key, value in start.items()}, plan).moved == 2
        assert "tokens of the base model" in judged(base, start, plan).reasons[0]

    @pytest.mark.parametrize("kind", [np.float32, np.float16])
    def test_an_unchanged_token_is_refused(self, base: Path, kind: type) -> None:
        one = judged(base, in_format(words_of(sd15(), count=1, by=0), kind), wanted(base, vectors=1))
        assert "tokens of the base model" in one.reasons[0]
        several = judged(base, words_of(sd15(), by=0), wanted(base))
        assert "all vectors are the same in emb_params" in several.reasons[0]
        two_words = {"emb_params": sd15()[SD15_WORDS][[3, 40, 3]]}
        assert "tokens of the base model" in judged(base, two_words, wanted(base)).reasons[0]

    def test_what_cannot_be_known_is_said(self, base: Path, tmp_path: Path) -> None:
        other = tmp_path / "other.safetensors"
        save_file({"encoder.weight": noise(4, 4)}, other)
        cases = ((wanted(base, init_word=""), "at random"), (wanted(tmp_path / "absent"), "cannot be read"))
        for plan, words in (*cases, (wanted(other), "no token embeddings that fit")):
            found = judged(base, words_of(sd15()), plan)
            assert (found.ok, found.moved) == (True, None)
            assert words in found.notes[0]

    @pytest.mark.parametrize(
        ("tensors", "words"),
        [
            ({"emb_params": noise(4, 768)}, "contains 4 vectors, not 3"),
            ({"emb_params": noise(3, 1024)}, "have 1024 values, not 768"),
            ({"emb_params": noise(768)}, "contains no vectors"),
            ({"emb_params": np.zeros((3, 768), np.float32)}, "All values are zero in emb_params"),
            ({"emb_params": np.full((3, 768), np.nan, np.float32)}, "NaN"),
            ({"emb_params": np.ones((3, 768), np.int32)}, "contains no vectors"),
            ({"clip_l": noise(3, 768), "clip_g": noise(3, 1280)}, "not an embedding for emb_params"),
            ({"emb_params": noise(3, 768), "more": noise(3)}, "it contains emb_params, more"),
            ({"<b>\x1b": noise(3, 768)}, "it contains <b>"),
        ],
    )
    def test_what_is_wrong_is_said(self, base: Path, tensors: Tensors, words: str) -> None:
        found = judged(base, tensors, wanted(base))
        assert not found.ok
        assert words in " ".join(found.reasons)
        assert "\x1b" not in " ".join(found.reasons)

    def test_an_unknown_family_takes_what_is_known(self, base: Path) -> None:
        assert judged(base, {"emb_params": noise(3, 1024)}, wanted(base, "sd-of-tomorrow", init_word="")).ok
        assert not judged(base, {"emb_params": noise(3, 64)}, wanted(base, "sd-of-tomorrow", init_word="")).ok


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel does not say how much memory was used")
def test_a_large_model_takes_little_memory(tmp_path: Path) -> None:
    """300 MB of weights, compared with as many."""
    tensors = {
        f"{DENOISER}{key}": ("F16", shape)
        for key, shape in {
            "input_blocks.0.0.weight": (320, 4, 3, 3),
            "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (8, 768),
            "middle_block.1.transformer_blocks.0.attn2.to_k.weight": (10_000, 15_000),
            "output_blocks.11.1.proj_out.weight": (8, 8),
        }.items()
    }
    assert sum(np.prod(shape) * BITS[kind] // 8 for kind, shape in tensors.values()) > 3e8
    for name in ("base", "trained"):
        recorded_headers.write_file(tmp_path / f"{name}.safetensors", tensors)
    plan = asked(tmp_path / "base.safetensors")
    code = (
        "import json, re, sys; from pathlib import Path; from trainer_core.training.acceptance import accept; "
        "found = accept(sys.argv[1], json.loads(sys.argv[2])); "
        "print(found.moved, re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "trained.safetensors"), json.dumps(plan)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    moved, most_kib = answer.stdout.split()
    assert moved == "0"
    assert int(most_kib) < 120_000
