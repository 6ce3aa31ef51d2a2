"""Lossless renamings: every recorded layout becomes exactly the recorded layout that an engine reads."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import recorded_headers, recorded_roles
from trainer_core.errors import RenamingError
from trainer_core.models import renaming
from trainer_core.models.header import BITS, TensorInfo
from trainer_core.models.renaming import Form


def model(name: str) -> dict[str, TensorInfo]:
    return {key: TensorInfo(*row) for key, row in recorded_headers.load(name)["tensors"].items()}


def shapes(tensors: dict[str, TensorInfo]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(info.shape) for name, info in tensors.items()}


CASES = [
    ("vae_16ch", recorded_roles.sized("vae-16ch-diffusers"), "diffusers", model("vae-flux"), "ldm"),
    ("vae_sd", recorded_roles.sized("vae-sd-diffusers"), "diffusers", model("vae-sd"), "ldm"),
    (
        "vae_hunyuan_image",
        recorded_roles.sized("vae-hunyuan-image-diffusers"),
        "diffusers",
        model("vae-hunyuan-image"),
        "original",
    ),
    (
        "vae_flux2",
        recorded_roles.sized("vae-flux2"),
        "diffusers",
        recorded_roles.sized("vae-flux2-original"),
        "original",
    ),
    ("clip_g", recorded_roles.sized("te-open-clip-g"), "openclip", model("clip-g"), "transformers"),
    (
        "clip_l",
        recorded_roles.sized("te-open-clip-l"),
        "openclip",
        recorded_roles.sized("te-clip-l-projection"),
        "transformers",
    ),
]


@pytest.mark.parametrize(("kind", "before", "layout", "after", "to"), CASES, ids=[case[0] for case in CASES])
def test_a_recorded_layout_becomes_the_recorded_layout_that_an_engine_reads(
    kind: str, before: dict[str, TensorInfo], layout: str, after: dict[str, TensorInfo], to: str
) -> None:
    form = renaming.form_of(kind, before)
    assert form == Form(layout, "")
    found = {piece.name: piece.shape for piece in renaming.pieces(kind, before, form, Form(to, ""))}
    if kind == "clip_l":
        # The two recorded models differ in the width of their projection.
        assert found.pop("text_projection.weight") == (768, 768)
        after = {name: info for name, info in after.items() if name != "text_projection.weight"}
    assert found == shapes(after)
    assert renaming.form_of(kind, after) == Form(to, "")


def test_a_vae_of_flux2_as_comfyui_saves_it_becomes_the_one_of_its_publisher() -> None:
    original = recorded_roles.sized("vae-flux2-original")
    inside = ("encoder.quant_conv.", "decoder.post_quant_conv.")
    saved = {name.partition(".")[2] if name.startswith(inside) else name: info for name, info in original.items()}
    form = renaming.form_of("vae_flux2", saved)
    assert form == Form("comfyui", "")
    found = {piece.name: piece.shape for piece in renaming.pieces("vae_flux2", saved, form, Form("original", ""))}
    assert found == shapes(original)


NAMES = st.sampled_from(
    [
        "transformer.resblocks.0.attn.in_proj_weight",
        "transformer.resblocks.0.mlp.c_fc.weight",
        "text_projection",
        "positional_embedding",
        "text_model.embeddings.position_embedding.weight",
        "logit_scale",
        "",
        "\\1",
    ]
)


@given(
    rows=st.dictionaries(
        NAMES, st.tuples(st.sampled_from(sorted(BITS)), st.lists(st.integers(0, 12), max_size=3)), max_size=8
    )
)
def test_any_file_gives_all_its_bytes_once_or_an_error(rows: dict[str, tuple[str, list[int]]]) -> None:
    tensors, position = {}, 0
    for name, (dtype, shape) in rows.items():
        tensors[name] = TensorInfo(dtype, tuple(shape), position)
        position += tensors[name].size_bytes
    try:
        found = renaming.pieces("clip_l", tensors, Form("openclip", ""), Form("transformers", ""))
    except RenamingError:
        return
    assert len({piece.name for piece in found}) == len(found)
    kept = {name: info for name, info in tensors.items() if name != "logit_scale"}
    assert sum(piece.size for piece in found) == sum(info.size_bytes for info in kept.values())
    for piece in found:
        assert piece.size == math.prod(piece.shape) * BITS[piece.dtype] // 8


def test_a_renaming_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(RenamingError, match="no renaming"):
        renaming.pieces("vae_16ch", model("vae-flux"), Form("ldm", ""), Form("diffusers", ""))
