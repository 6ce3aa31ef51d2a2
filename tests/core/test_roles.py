"""Every LoRA, ControlNet, VAE, text encoder and embedding is detected as what it is, and as nothing else."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support import peer_files, recorded_headers, recorded_networks
from tests.support.recorded_headers import recorded
from tests.support.recorded_roles import LORAS, NAMES, load, made, of, role, sized
from trainer_core import catalog
from trainer_core.models import header
from trainer_core.models.detection import bases, detect, others, parts
from trainer_core.models.families import load_families
from trainer_core.models.header import TensorInfo
from trainer_core.text import printable

# The families with a LoRA of a real class here, or with one in the names of another program.
FAMILIES = {load(name)["base"] for name in LORAS} | {case.family for case in peer_files.CASES}
# Layers that two families share, without metadata to decide: the text that the evidence contains instead.
UNDECIDED = {
    "lora-lycoris-flux-ia3": "FLUX.1 or",
    "lora-peft-pixart-alpha": "PixArt or Sana", "lora-peft-pixart-sigma": "PixArt or Sana", "lora-peft-sana-600m": "PixArt or Sana",
    "lora-kohya-sd15-oft": "Stable Diffusion 1.5 or Stable Diffusion 2", "lora-kohya-flux-text": "Stable Diffusion XL or",
    "lora-peft-cogview3": "CogView 3 or 4 or GLM-Image", "lora-peft-cogview4": "CogView 3 or 4 or GLM-Image",
    "lora-peft-glm-image": "CogView 3 or 4 or GLM-Image", "lora-peft-nucleus-image": "HunyuanVideo 1.5 or Nucleus Image",
}  # fmt: skip
# Rarely trained families with the same layers: detected as the usual family, with a note, unless the metadata names them.
SELDOM = {
    "lora-peft-kolors": "sdxl", "lora-peft-cosmos-predict2": "anima", "lora-peft-sana-video": "sana",
    "lora-peft-flux": "flux", "lora-peft-chroma": "flux", "lora-kohya-chroma": "flux", "lora-lycoris-flux-boft": "flux",
    "lora-peft-bria": "flux", "lora-peft-bria-fibo": "flux", "lora-peft-longcat-image": "flux", "lora-peft-ovis-image": "flux",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_each_record_is_detected(name: str) -> None:
    wanted = load(name)
    found = detect(role(name))
    assert (found.role, found.family) == (wanted["role"], None)
    assert found.variant == wanted.get("kind", "")
    assert found.rank == wanted.get("rank")
    assert set(found.rejected) == set(load_families())
    assert found.evidence
    assert all(text == printable(text) for text in found.evidence)


@pytest.mark.parametrize("name", [name for name in NAMES if "base" in load(name)])
def test_the_family_that_it_was_made_for_is_detected(name: str) -> None:
    wanted = load(name)["base"]
    found = detect(role(name))
    said = " ".join(found.evidence)
    if name in UNDECIDED:
        assert (found.base_family, UNDECIDED[name] in said) == (None, True), said
    elif name in SELDOM:
        assert (found.base_family, "rarely trained" in said) == (SELDOM[name], True)
    elif wanted in bases.load():
        assert found.base_family == (wanted if wanted in load_families() else None)
        assert bases.load()[wanted].title in said
    else:
        assert found.base_family is None, "a family that is not in the table must not be mistaken for another"


@pytest.mark.parametrize("family", sorted(set(load_families()) & set(bases.load())))
def test_every_family_with_layers_has_a_lora_of_a_real_class(family: str) -> None:
    assert family in FAMILIES


def test_metadata_decides_between_families_with_the_same_layers() -> None:
    for said, family in (("flux-1-dev/lora", "flux"), ("chroma/lora", "chroma"), ("flux-dev/lora", "flux")):
        found = detect(role("lora-peft-flux", modelspec__architecture=said))
        assert found.base_family == family
        assert f"its metadata says so: modelspec.architecture {said}" in " ".join(found.evidence)
    for name, said in (("lora-peft-kolors", "kolors"), ("lora-kohya-flux-text", "flux1")):
        assert said.startswith(detect(role(name, ss_base_model_version=said)).base_family or "nothing")


def test_layers_take_precedence_over_metadata() -> None:
    found = detect(role("lora-peft-sd15", modelspec__architecture="stable-diffusion-xl-v1-base/lora"))
    assert found.base_family == "sd15"
    assert "but the layers take precedence" in found.evidence[-1]
    keys = {f"transformer.new_blocks.0.lora_{side}.weight": TensorInfo("BF16", (8, 8)) for side in "AB"}
    unknown = detect(made(keys, ss_base_model_version="flux1"))
    assert (unknown.role, unknown.base_family) == ("lora", None)
    assert "its metadata says ss_base_model_version flux1" in unknown.evidence


Rename = Callable[[str], str]
# The names that programs give the layers of diffusers. Source: ai-toolkit and OneTrainer, from memory of their code.
SPELLINGS: Mapping[str, Rename] = {
    "PEFT": lambda key: f"base_model.model.{key.removeprefix('transformer.')}",
    "ai-toolkit or ComfyUI": lambda key: key.replace("transformer.", "diffusion_model.", 1),
    "OneTrainer": lambda key: _flat(key, "lora_transformer_"),
    "sd-scripts": lambda key: _flat(key, "lora_unet_"),
    "LyCORIS": lambda key: _flat(key, "lycoris_"),
}


def _flat(key: str, prefix: str) -> str:
    module, _, ending = key.removeprefix("transformer.").rpartition(".lora_")
    return f"{prefix}{module.replace('.', '_')}.lora_{ending.replace('A', 'down').replace('B', 'up')}"


@pytest.mark.parametrize("writer", SPELLINGS)
@pytest.mark.parametrize("name", ["lora-peft-flux-all", "lora-peft-qwen-image-all", "lora-peft-hidream"])
def test_the_program_that_named_the_layers_does_not_matter(name: str, writer: str) -> None:
    tensors = {SPELLINGS[writer](key): info for key, info in sized(name).items()}
    found = detect(made(tensors))
    assert (found.base_family, found.variant, found.rank) == (load(name)["base"], "lora", 8)
    assert f"named like files of {writer}" in found.evidence[1]


@pytest.mark.parametrize("ending", ["_lora.%s.weight", ".lora.%s.weight", ".lora_linear_layer.%s.weight"])
def test_the_oldest_loras_of_diffusers(ending: str) -> None:
    renamed = {}
    for key, info in sized("lora-peft-sd15").items():
        module, _, side = key.removesuffix(".weight").rpartition(".lora_")
        place, _, leaf = module.rpartition(".")
        renamed[f"{place}.processor.{leaf}{ending % ('down' if side == 'A' else 'up')}"] = info
    found = detect(made(renamed))
    assert (found.role, found.base_family, found.rank) == ("lora", "sd15", 8)


def test_the_first_loras_for_flux() -> None:
    tensors = {}
    for block in range(19):
        for name, size in (("qkv_lora1", 9216), ("qkv_lora2", 9216), ("proj_lora1", 3072), ("proj_lora2", 3072)):
            key = f"double_blocks.{block}.processor.{name}"
            tensors[f"{key}.down.weight"] = TensorInfo("BF16", (16, 3072))
            tensors[f"{key}.up.weight"] = TensorInfo("BF16", (size, 16))
    found = detect(made(tensors))
    assert (found.role, found.base_family, found.rank) == ("lora", "flux", 16)
    assert "changes 76 layers" in found.evidence[0]


@pytest.mark.parametrize("prefix", ["control_model.", ""])
def test_a_controlnet_in_the_oldest_layout(prefix: str) -> None:
    before = "model.diffusion_model."
    own = {key.removeprefix(before): info for key, info in recorded("sd15").tensors.items() if key.startswith(before)}
    tensors = {prefix + key: info for key, info in own.items() if not key.startswith(("out.", "output_blocks."))}
    tensors[f"{prefix}input_hint_block.0.weight"] = TensorInfo("F16", (16, 3, 3, 3))
    found = detect(made(tensors))
    assert (found.role, found.base_family) == ("controlnet", "sd15")
    # Together with its base model, as the first ones were published.
    if prefix:
        found = detect(made({**recorded("sd15").tensors, **tensors}))
        assert (found.role, found.base_family) == ("controlnet", "sd15")


@pytest.mark.parametrize("name", recorded_networks.NAMES)
def test_every_recorded_network_has_its_algorithm(name: str, tmp_path: Path) -> None:
    kind = name.partition("-")[2].partition("-")[0].partition("_")[0]
    found = detect(header.read(recorded_networks.write(name, tmp_path)))
    # Networks that are saved as plain LoRAs cannot be distinguished from one, except for convolutions.
    wanted = ("lora", "locon") if kind in ("lora", "locon", "dylora") else (kind,)
    assert (found.role, found.variant in wanted) == ("lora", True), found.variant


def test_convolutions_make_a_lora_a_locon() -> None:
    assert detect(role("lora-lycoris-sd15-locon")).variant == "locon"
    assert detect(role("lora-kohya-sd15")).variant == "lora"


class TestAlpha:
    def test_of_kohya_and_of_diffusers(self) -> None:
        assert detect(role("lora-kohya-sd15", ss_network_alpha="4.0")).alpha == 4
        noted = json.dumps({"transformer.r": 8, "transformer.lora_alpha": 16})
        assert detect(role("lora-peft-flux", lora_adapter_metadata=noted)).alpha == 16

    @pytest.mark.parametrize("noted", ["[" * 5000, "[1]", "{", '{"lora_alpha": "nan"}', '{"lora_alpha": [1]}'])
    def test_invalid_metadata_gives_no_alpha(self, noted: str) -> None:
        assert detect(role("lora-peft-flux", lora_adapter_metadata=noted)).alpha is None


class TestStrayKeys:
    def test_a_checkpoint_with_a_few_keys_of_a_lora_stays_a_checkpoint(self) -> None:
        base = recorded("sdxl")
        stray = dict(list(sized("lora-kohya-sdxl").items())[:6])
        found = detect(dataclasses.replace(base, tensors={**base.tensors, **stray}))
        assert (found.family, found.role) == ("sdxl", "checkpoint")

    def test_a_lora_may_contain_embeddings_and_unknown_keys(self) -> None:
        tensors = sized("lora-kohya-sd15") | {"bundle_emb.cat.string_to_param.*": TensorInfo("F16", (2, 768))}
        found = detect(made(tensors | {"note": TensorInfo("F16", (1,))}))
        assert (found.role, found.base_family) == ("lora", "sd15")
        assert "also contains embeddings" in found.evidence

    def test_a_lora_of_two_families_matches_none(self) -> None:
        assert detect(made(sized("lora-peft-sd15") | sized("lora-peft-sdxl"))).base_family is None


class TestParts:
    @pytest.mark.parametrize(
        "name", [name for name in recorded_headers.NAMES if name.startswith(("vae-", "t5xxl", "clip-", "byt5", "gemma2-2b", "qwen25-vl-7b", "qwen3-06b"))]
    )  # fmt: skip
    def test_the_files_of_sd_scripts(self, name: str) -> None:
        kinds = {"vae-sd": "vae_sd", "vae-flux": "vae_16ch", "vae-qwen-image-diffusers": "vae_qwen_image"}
        assert detect(recorded(name)).variant == kinds.get(name, name.replace("-", "_"))

    @pytest.mark.parametrize("prefix", ["text_encoders.t5xxl.transformer.", "model.", "anything.at.all."])
    def test_a_part_is_detected_with_any_prefix(self, prefix: str) -> None:
        tensors = {prefix + key: info for key, info in recorded("t5xxl").tensors.items()}
        assert {part.id for part in parts.held(made(tensors)).values()} == {"t5xxl"}

    def test_no_two_kinds_match_one_file(self) -> None:
        for name in NAMES:
            if load(name)["role"] in ("vae", "text_encoder"):
                kinds = {part.id for part in parts.held(role(name)).values()}
                assert kinds == ({load(name)["kind"]} - {""}), name

    def test_the_parts_of_a_checkpoint_are_detected_by_content(self) -> None:
        bare = recorded("sd3-medium")
        clip = {f"text_encoders.clip_l.transformer.{key}": info for key, info in recorded("clip-l").tensors.items()}
        t5xxl = {f"text_encoders.t5xxl.transformer.{key}": info for key, info in recorded("t5xxl").tensors.items()}
        vae = {f"first_stage_model.{key}": info for key, info in recorded("vae-flux").tensors.items()}
        without = dataclasses.replace(bare, tensors={**bare.tensors, **clip, **vae})
        assert set(detect(without).parts) == {"clip_l", "vae"}
        whole = dataclasses.replace(bare, tensors={**without.tensors, **t5xxl})
        assert set(detect(whole).parts) == {"clip_l", "vae", "t5xxl"}

    def test_taesd_is_recognised_and_not_used_for_training(self) -> None:
        found = detect(role("vae-taesd"))
        assert (found.variant, "previews" in found.apart) == ("taesd", True)

    def test_quantised_matrices_do_not_hide_a_text_encoder(self) -> None:
        packed = {
            key: TensorInfo("U8", (info.shape[0] * info.shape[1] // 2, 1)) if "DenseReluDense" in key or "SelfAttention.q" in key else info
            for key, info in recorded("t5xxl").tensors.items()
        }  # fmt: skip
        assert detect(made(packed)).variant == "t5xxl"

    def test_several_parts_in_one_file_are_named(self) -> None:
        both = {f"a.{key}": info for key, info in recorded("t5xxl").tensors.items()}
        both |= {f"b.{key}": info for key, info in recorded("clip-l").tensors.items()}
        found = detect(made(both))
        assert (found.role, found.variant) == ("text_encoder", "")
        assert "CLIP ViT-L/14, T5 v1.1 XXL" in found.evidence[0]

    @pytest.mark.parametrize("part", catalog.parts().values(), ids=lambda part: part.id)
    def test_every_kind_without_a_recorded_header_is_marked_as_unproved(self, part: catalog.Part) -> None:
        kinds = {load(name).get("kind") for name in NAMES}
        first = {"gemma2_2b", "qwen25_vl_7b", "qwen3_06b", "vae_hunyuan_image", "clip_g"}
        assert part.id in kinds | first
        assert part.role in ("vae", "text_encoder")
        assert all(source.repo.count("/") == 1 and source.file for source in part.sources)

    @pytest.mark.parametrize("part", catalog.parts().values(), ids=lambda part: part.id)
    def test_each_signature_matches_only_its_kind(self, part: catalog.Part) -> None:
        for signature in part.signatures:
            shapes = {
                key: tuple(7 if size == "*" else int(size) for size in sizes) for key, sizes in signature.shapes.items()
            }
            image_encoder = {"visual.patch_embed.proj.weight": (7,)} if signature.vision else {}
            found = of(dict.fromkeys(signature.present, (7,)) | shapes | image_encoder)
            assert (found.role, found.variant) == (part.role, part.id)

    def test_the_parts_of_families_are_in_the_catalogue_with_a_source(self) -> None:
        for family in load_families().values():
            for kinds in family.parts.values():
                for kind in kinds:
                    assert kind in catalog.parts(), f"{family.id} names {kind}"


def control_model() -> dict[str, TensorInfo]:
    """A ControlNet in the LDM layout: half of SD1.5, and the layers that read the control image."""
    start = "model.diffusion_model."
    half = {
        key.replace(start, "control_model."): info
        for key, info in recorded("sd15").tensors.items()
        if key.startswith((f"{start}input_blocks.", f"{start}middle_block.", f"{start}time_embed."))
    }
    return half | {"control_model.input_hint_block.0.weight": TensorInfo("F16", (16, 3, 3, 3))}


class TestControlNets:
    def test_ldm_layout(self) -> None:
        found = detect(made(control_model()))
        assert (found.role, found.base_family) == ("controlnet", "sd15")

    def test_control_lora(self) -> None:
        start = "input_blocks.4.1.transformer_blocks.0.attn2.to_k"
        found = of({"lora_controlnet": (0,), f"{start}.up": (640, 128), f"{start}.down": (128, 2048)})
        assert (found.role, found.base_family) == ("controlnet", "sdxl")

    def test_a_controlnet_is_never_a_model_of_its_family(self) -> None:
        for name in NAMES:
            if name.startswith("controlnet-"):
                assert detect(role(name)).family is None


class TestEmbeddings:
    @pytest.mark.parametrize(
        ("shapes", "base", "words"),
        [
            ({"emb_params": (4, 768)}, "sd15", "4 vectors of width 768"),
            ({"string_to_param.*": (1, 768)}, "sd15", "1 vector of width 768"),
            ({"string_to_param.*": (3, 1024)}, "sd2", "3 vectors of width 1024"),
            ({"clip_l": (8, 768), "clip_g": (8, 1280)}, "sdxl", "8 vectors of width 768 and 1280"),
            ({"text_encoders_0": (2, 768), "text_encoders_1": (2, 1280)}, "sdxl", "2 vectors of width 768 and 1280"),
            ({"clip_l": (2, 768), "clip_g": (2, 1280), "t5xxl": (2, 4096)}, "sd3", "2 vectors of width"),
            ({"clip_l": (2, 768), "t5": (2, 4096)}, "flux", "2 vectors of width 768 and 4096"),
            ({"string_to_token.*": (), "string_to_param.*": (4, 768)}, "sd15", "4 vectors of width 768"),
            ({"<cat-toy>": (768,)}, "sd15", "1 vector of width 768"),
            ({"clip_l": (2, 768)}, None, "2 vectors of width 768"),
            ({"emb_params": (2, 1280)}, None, "2 vectors of width 1280"),
        ],
    )
    def test_layouts(self, shapes: dict[str, tuple[int, ...]], base: str | None, words: str) -> None:
        found = of(shapes)
        assert (found.role, found.base_family) == ("embedding", base)
        assert words in found.evidence[0]

    def test_the_evidence_for_a_width_names_other_families_with_it(self) -> None:
        assert "FLUX.1" in of({"emb_params": (1, 768)}).evidence[1]

    @pytest.mark.parametrize(
        "shapes", [{"weight": (4, 768)}, {"a.b": (4, 768)}, {"x": (3, 77)}, {"x": (4096, 768)}, {"x": ()}]
    )
    def test_other_small_files_are_not_embeddings(self, shapes: dict[str, tuple[int, ...]]) -> None:
        assert of(shapes).role == "unknown"


class TestOthers:
    @pytest.mark.parametrize(
        ("keys", "words"),
        [
            (["ip_adapter.1.to_k_ip.weight", "image_proj.proj.weight"], "an IP-Adapter"),
            (
                ["ip_adapter.0.to_q_lora.down.weight", "ip_adapter.0.to_q_lora.up.weight", "image_proj.a"],
                "an IP-Adapter",
            ),
            (["model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"], "an ESRGAN upscaler"),
            (["conv_first.weight", "body.0.rdb1.conv1.weight"], "a Real-ESRGAN upscaler"),
            (["model.0.conv.weight", "model.1.conv.weight", "model.2.cv1.conv.weight"], "a YOLO detector"),
            (["state.0.exp_avg", "state.0.exp_avg_sq"], "the state of an optimizer"),
        ],
    )
    def test_other_files_are_named_with_a_reason(self, keys: list[str], words: str) -> None:
        found = of(dict.fromkeys(keys, (64, 64)))
        assert (found.role, words in found.evidence[0]) == ("unknown", True)
        assert "it cannot be used for training" in found.evidence[0]

    @pytest.mark.parametrize("name", ["other-t2i-adapter", "other-motion", "other-clip-vision"])
    def test_recorded(self, name: str) -> None:
        assert "it cannot be used for training" in detect(role(name)).evidence[0]

    def test_no_other_table_matches_a_known_file(self) -> None:
        assert all(others.named(role(name)) is None for name in NAMES if load(name)["role"] != "unknown")
        assert all(others.named(recorded(name)) is None for name in recorded_headers.NAMES)


def test_the_order_of_keys_never_matters() -> None:
    for name in NAMES[::4]:
        tensors = list(sized(name).items())
        first = detect(made(dict(tensors)))
        random.Random(name).shuffle(tensors)
        again = detect(made(dict(tensors)))
        assert (again.role, again.variant, again.base_family, again.rank) == (
            first.role,
            first.variant,
            first.base_family,
            first.rank,
        )
