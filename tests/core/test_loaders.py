"""Whether other programs load a network: Easel's answers are those of the real loaders (scripts/compare_loaders.py)."""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path

import pytest

from tests.support import recorded_headers
from trainer_core.engines import registry
from trainer_core.models import loaders
from trainer_core.models.header import Header, TensorInfo
from trainer_core.models.loaders import COMFYUI, DIFFUSERS, conversion, table

DATA = Path(__file__).parents[1] / "data"
REAL = json.loads((DATA / "loaders.json").read_text())
LAYER = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
PEFT = loaders.PEFT


def recorded(name: str) -> Header:
    found = json.loads((DATA / "roles" / f"{name}.json").read_text())
    tensors = {key: TensorInfo(*value) for key, value in recorded_headers._leaves(found["tensors"])}
    return Header(Path(name), tensors, found.get("metadata") or {}, "safetensors")


def made(names: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> Header:
    return Header(
        Path("made"), {key: TensorInfo("F16", shape) for key, shape in names.items()}, metadata or {}, "safetensors"
    )


def layer(
    name: str, up: str = ".lora_up.weight", down: str = ".lora_down.weight", alpha: bool = True
) -> dict[str, tuple[int, ...]]:
    return {name + down: (4, 6), name + up: (5, 4), **({f"{name}.alpha": ()} if alpha else {})}


def answers(header: Header, family: str = "sdxl") -> dict[str, str]:
    return {answer.program: answer.loads for answer in loaders.judge(header, family)}


@pytest.mark.parametrize("name", sorted(REAL))
@pytest.mark.parametrize("program", loaders.PROGRAMS)
def test_the_answer_is_that_of_the_real_loader(name: str, program: str) -> None:
    real, whole, of = REAL[name][program]
    (answer,) = (each for each in loaders.judge(recorded(name), REAL[name]["family"]) if each.program == program)
    if answer.loads == "not known":
        assert answer.reason
        return
    assert answer.loads == real, answer.reason
    assert answer.of == of
    if program == COMFYUI:
        assert answer.layers == whole
    if real != "yes":
        assert answer.reason


def test_every_family_that_an_engine_trains_as_a_network_is_recorded() -> None:
    trained = {
        family
        for engine in registry.available()
        for family, claim in engine.manifest.families.items()
        if "lora" in claim.methods
    }
    assert trained <= set(table.families())
    assert all(table.is_recorded(program.lower(), family) for program in loaders.PROGRAMS for family in trained)
    assert all(table.source(program.lower()) for program in loaders.PROGRAMS)


def test_what_is_not_recorded_is_not_known() -> None:
    header = made(layer(f"lora_unet_{LAYER.replace('.', '_')}"))
    assert set(answers(header, "hidream").values()) == {"not known"}
    assert set(answers(header, "").values()) == {"not known"}
    assert set(answers(made({"some.tensor": (2, 2)})).values()) == {"not known"}


def test_a_program_that_was_recorded_for_other_families_only_is_not_known(monkeypatch) -> None:
    names = {"to_q": "|pa", "to_k": "|pa"}
    only = {**table.table(), "families": {**table.table()["families"], "of-tomorrow": {"diffusers": names}}}
    monkeypatch.setattr(table, "table", lambda: only)
    header = made(layer("transformer.to_q", ".lora_B.weight", ".lora_A.weight", alpha=False))
    comfyui, diffusers = loaders.judge(header, "of-tomorrow")
    assert (comfyui.loads, comfyui.source, diffusers.loads) == ("not known", "", "yes")


def test_the_fused_layers_of_qwen_image_21_are_loaded_by_halves() -> None:
    """ComfyUI joins gate_layer and proj, and has no name of their halves with its own prefix."""
    ends = (".lora_B.weight", ".lora_A.weight")
    block = "transformer_blocks.0"
    gate, attention = f"{block}.img_mlp.gate_layer", f"{block}.attn.to_q"
    assert answers(made(layer(f"transformer.{gate}", *ends)), "qwen_image21")[COMFYUI] == "yes"
    both = made({**layer(f"diffusion_model.{gate}", *ends), **layer(f"diffusion_model.{attention}", *ends)})
    assert answers(both, "qwen_image21")[COMFYUI] == "partly"


def test_a_name_that_no_model_has_is_named() -> None:
    good, bad = f"lora_unet_{LAYER.replace('.', '_')}", "lora_unet_down_blocks_9_attentions_0_proj_in"
    (comfyui, diffusers) = loaders.judge(made({**layer(good), **layer(bad)}), "sdxl")
    assert (comfyui.loads, comfyui.layers, comfyui.of) == ("partly", 1, 2)
    assert bad in comfyui.reason
    assert diffusers.loads == "partly"


def test_alpha_in_the_metadata_is_not_read_by_comfyui() -> None:
    names = layer("transformer.transformer_blocks.0.attn.to_q", ".lora_B.weight", ".lora_A.weight", alpha=False)
    stated = {"transformer.lora_alpha": 2.0, "transformer.r": 4}
    header = made(names, {PEFT: json.dumps(stated)})
    assert answers(header, "flux") == {COMFYUI: "partly", DIFFUSERS: "yes"}
    same = made(names, {PEFT: json.dumps({**stated, "transformer.lora_alpha": 4})})
    assert answers(same, "flux") == {COMFYUI: "yes", DIFFUSERS: "yes"}


@pytest.mark.parametrize(
    "stated",
    [
        "{",
        "[]",
        '{"transformer.lora_alpha": "x"}',
        "[" * 100_000,
        '{"transformer.lora_alpha": 1e999, "transformer.r": 4}',
    ],
)
def test_damaged_metadata_changes_no_file(stated: str) -> None:
    names = layer("transformer.transformer_blocks.0.attn.to_q", ".lora_B.weight", ".lora_A.weight", alpha=False)
    header = made(names, {PEFT: stated})
    loaders.judge(header, "flux")
    assert conversion.improved(header, "flux", 2.0) is None


def test_each_alpha_is_exact() -> None:
    """PEFT divides by the rank, or by its root; a tensor is always divided by the rank."""
    names = layer("transformer.transformer_blocks.0.attn.to_q", ".lora_B.weight", ".lora_A.weight", alpha=False)
    other = layer("transformer.transformer_blocks.1.attn.to_q", ".lora_B.weight", ".lora_A.weight", alpha=False)
    stated = {"transformer.lora_alpha": 3.0, "transformer.r": 4}

    def alphas(**more: object) -> list[float]:
        keys = {f"transformer.{key}": value for key, value in more.items()}
        found = conversion.improved(made({**names, **other}, {PEFT: json.dumps({**stated, **keys})}), "flux")
        assert found is not None
        return [struct.unpack("<f", piece.content)[0] for piece in found.pieces if piece.content]

    assert alphas() == [3.0, 3.0]
    assert alphas(use_rslora=True) == [6.0, 6.0]
    assert alphas(alpha_pattern={"transformer_blocks.1.attn.to_q": 1.0}) == [3.0, 1.0]


def test_parts_that_comfyui_does_not_read_are_not_a_yes() -> None:
    name = f"lora_unet_{LAYER.replace('.', '_')}"
    magnitudes = made({**layer(name), f"{name}.lora_magnitude_vector.weight": (5,)})
    (comfyui, diffusers) = loaders.judge(magnitudes, "sdxl")
    assert (comfyui.loads, comfyui.layers) == ("no", 0)
    assert "does not read all parts" in comfyui.reason
    assert diffusers.loads == "not known"
    assert answers(made({**layer(name), f"{name}.dora_scale": (5, 1)})) == {COMFYUI: "yes", DIFFUSERS: "partly"}


def test_a_network_gets_comfyuis_own_names_where_the_original_code_has_others() -> None:
    """ComfyUI renames the layers of HunyuanImage when it opens the model, and knows only its own names of some."""
    header = recorded("lora-kohya-hunyuan-image")
    assert answers(header, "hunyuan_image")[COMFYUI] == "partly"
    changed = conversion.improved(header, "hunyuan_image")
    assert changed is not None
    assert "lora_unet_double_blocks_0_img_mlp_2.lora_up.weight" in {piece.name for piece in changed.pieces}
    finished = conversion.as_header(header, changed.pieces, changed.outdated)
    (comfyui, _) = loaders.judge(finished, "hunyuan_image")
    assert (comfyui.loads, comfyui.layers) == ("yes", 320)
    assert conversion.improved(finished, "hunyuan_image") is None


def test_a_file_that_all_programs_load_is_not_changed() -> None:
    assert conversion.improved(made(layer(f"lora_unet_{LAYER.replace('.', '_')}")), "sdxl", 2.0) is None


@pytest.mark.parametrize("name", [name for name in sorted(REAL) if "peft" in name])
def test_a_conversion_never_loses_a_tensor_and_never_makes_it_worse(name: str) -> None:
    header, family = recorded(name), REAL[name]["family"]
    changed = conversion.improved(header, family, 4.0)
    if changed is None:
        return
    kept = [piece for piece in changed.pieces if not piece.content]
    assert sorted((piece.start, piece.size) for piece in kept) == sorted(
        (info.start_bytes, info.size_bytes) for info in header.tensors.values()
    )
    assert len({piece.name for piece in changed.pieces}) == len(changed.pieces)
    after = {piece.name: TensorInfo(piece.dtype, piece.shape) for piece in changed.pieces}
    metadata = {key: value for key, value in header.metadata.items() if key not in changed.outdated}
    rank = {"yes": 2, "partly": 1}
    now, then = answers(dataclasses.replace(header, tensors=after, metadata=metadata), family), answers(header, family)
    assert rank.get(now[COMFYUI], 0) >= rank.get(then[COMFYUI], 0)
