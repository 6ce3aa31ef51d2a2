"""Models, VAEs, text encoders and ControlNets in the files of other programs: what they are, or that no engine can use them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import recorded_models
from tests.support.recorded_headers import recorded
from tests.support.recorded_models import bare
from tests.support.recorded_roles import NAMES, load, made, role, sized
from trainer_core.models import formats
from trainer_core.models.detection import detect
from trainer_core.models.header import Header, TensorInfo

Tensors = Mapping[str, TensorInfo]
PARTS = [name for name in NAMES if load(name)["role"] in ("vae", "text_encoder") and load(name).get("kind")]
# Where ComfyUI, OneTrainer and the trainers have a part inside a file. Source: ComfyUI comfy/sd.py, load_state_dict_guess_config,
# and comfy/supported_models.py, process_clip_state_dict_for_saving; diffusers loaders/single_file_utils.py.
PLACES = {
    "vae": ("", "vae.", "first_stage_model."),
    "text_encoder": ("", "text_encoders.any.transformer.", "cond_stage_model.transformer.", "conditioner.embedders.0.transformer.", "model."),
}  # fmt: skip


def quanto(tensors: Tensors) -> dict[str, TensorInfo]:
    """The weights as optimum-quanto saves them. Source: optimum-quanto nn/qmodule.py, QModuleMixin."""
    packed: dict[str, TensorInfo] = {}
    for key, info in tensors.items():
        if key.endswith(".weight") and len(info.shape) == 2:
            packed[f"{key}._data"] = TensorInfo("F8_E4M3", info.shape)
            packed[f"{key}._scale"] = TensorInfo("BF16", (info.shape[0], 1))
            module = key.removesuffix("weight")
            packed |= {f"{module}{side}_scale": TensorInfo("BF16", ()) for side in ("input", "output")}
        else:
            packed[key] = info
    return packed


def scaled(tensors: Tensors, ending: str) -> dict[str, TensorInfo]:
    """The weights with a scale beside each. Source: ComfyUI comfy/ops.py; transformers' fp8 files have weight_scale_inv."""
    found = dict(tensors)
    for key, info in tensors.items():
        if key.endswith(".weight") and len(info.shape) == 2:
            found[key] = TensorInfo("F8_E4M3", info.shape)
            found[key.removesuffix("weight") + ending] = TensorInfo("F32", ())
    return found


def components() -> Iterator[tuple[str, str]]:
    for name in PARTS:
        yield from ((name, prefix) for prefix in PLACES[load(name)["role"]])


@pytest.mark.parametrize(("name", "prefix"), list(components()))
def test_a_part_in_the_place_of_another_program(name: str, prefix: str) -> None:
    found = detect(made({prefix + key: info for key, info in sized(name).items()}))
    assert (found.role, found.variant) == (load(name)["role"], load(name)["kind"])


@pytest.mark.parametrize("name", PARTS)
def test_a_quantized_part_is_named_and_not_used(name: str) -> None:
    for tensors in (quanto(sized(name)), scaled(sized(name), "scale_weight"), scaled(sized(name), "weight_scale_inv")):
        found = detect(made(tensors))
        assert (found.role, found.variant) == (load(name)["role"], load(name)["kind"])
        is_packed = any(len(info.shape) == 2 and key.endswith(".weight") for key, info in sized(name).items())
        assert bool(formats.unread(found)) == is_packed


@pytest.mark.parametrize(
    "name", ["flux-dev", "flux-schnell", "folder-flux-dev", "folder-qwen-image", "z-image", "chroma", "krea2"]
)
def test_a_model_that_quanto_packed_is_named_and_not_trained(name: str) -> None:
    alone = bare(name)
    assert alone
    found = detect(dataclasses.replace(alone, tensors=quanto(alone.tensors)))
    assert (found.family, found.variant) == (detect(alone).family, detect(alone).variant)
    assert (found.packed_by, found.evidence[-1]) == (
        "optimum-quanto",
        "its weights are stored as optimum-quanto saves them",
    )
    assert "quantized by optimum-quanto" in formats.unread(found)


def test_a_model_that_nunchaku_packed_is_named() -> None:
    keys = ("attn.to_q.qweight", "attn.to_q.wscales", "attn.to_q.smooth_factor", "attn.to_q.proj_down")
    tensors = {f"transformer_blocks.0.{key}": TensorInfo("I8", (64, 64)) for key in keys}
    assert "Nunchaku" in detect(made(tensors)).evidence[0]


class TestQwen3VL:
    """The language model of Qwen3-VL has the layout of Qwen3, whose place it must not take."""

    @pytest.mark.parametrize("size", ["2b", "4b", "8b"])
    def test_with_its_image_encoder(self, size: str) -> None:
        assert detect(role(f"te-qwen3-vl-{size}")).variant == f"qwen3_vl_{size}"

    def test_without_its_image_encoder(self) -> None:
        kept = {key: info for key, info in sized("te-qwen3-vl-4b").items() if ".visual." not in key}
        assert detect(made(kept)).variant == "qwen3_vl_4b"

    def test_as_comfyui_names_it(self) -> None:
        names = {key.replace("model.language_model.", "model."): info for key, info in sized("te-qwen3-vl-4b").items()}
        assert detect(made(names)).variant == "qwen3_vl_4b"

    def test_as_gguf(self) -> None:
        keys = {
            "blk.35.attn_norm.weight": TensorInfo("F32", (2560,)),
            "blk.0.attn_q_norm.weight": TensorInfo("F32", (128,)),
        }
        for architecture, kind in (("qwen3", "qwen3_4b"), ("qwen3vl", "")):
            header = Header(Path("x.gguf"), keys, {"general.architecture": architecture}, "gguf")
            assert detect(header).variant == kind


class TestModels:
    def test_longcat_in_the_names_of_flux(self) -> None:
        """ComfyUI's files: the layout of FLUX.1 without vector_in and guidance_in, and with another width of the text."""
        flux = recorded("flux-schnell")
        tensors = {key: info for key, info in flux.tensors.items() if not key.startswith("vector_in.")}
        tensors["txt_in.weight"] = TensorInfo("BF16", (3072, 3584))
        found = detect(dataclasses.replace(flux, tensors=tensors))
        assert (found.family, found.layout) == ("longcat_image", "comfyui")

    @pytest.mark.parametrize("count", [1, 8, 18])
    def test_flux_with_fewer_double_blocks(self, count: int) -> None:
        flux = recorded("flux-dev")
        kept = {
            key: info
            for key, info in flux.tensors.items()
            if not key.startswith("double_blocks.") or int(key.split(".")[1]) < count
        }
        found = detect(dataclasses.replace(flux, tensors=kept))
        assert (found.family, found.variant) == ("flux", "pruned")
        assert f"has {count} of 19 double_blocks and 38 of 38 single_blocks" in found.evidence

    @pytest.mark.parametrize(
        ("name", "variant"), [("stable-cascade-b-diffusers", "stage-b"), ("stable-cascade-c-diffusers", "stage-c")]
    )
    def test_the_stages_of_cascade(self, name: str, variant: str) -> None:
        assert (detect(recorded(name)).family, detect(recorded(name)).variant) == ("stable_cascade", variant)

    def test_the_original_stage_b(self) -> None:
        keys = (
            "clf.1.weight",
            "clip_mapper.weight",
            "effnet_mapper.0.weight",
            "embedding.1.weight",
            "pixels_mapper.0.weight",
        )
        found = detect(made({key: TensorInfo("BF16", (4, 4)) for key in keys}))
        assert (found.family, found.variant) == ("stable_cascade", "stage-b")

    @pytest.mark.parametrize(
        ("family", "layout", "keys"),
        [
            ("ideogram4", "original", "adaln_proj embed_image_indicator layers.0.attention.o layers.0.attention.qkv llm_cond_proj t_embedding.mlp_in"),
            ("hunyuan_video15", "original", ("byt5_in.fc1 cond_type_embedding double_blocks.0.img_attn_q final_layer.linear "
                "txt_in.individual_token_refiner.blocks.0.norm1")),
            ("hunyuan_video15", "comfyui", ("byt5_in.fc1 cond_type_embedding double_blocks.0.img_attn.qkv final_layer.linear "
                "txt_in.individual_token_refiner.blocks.0.norm1")),
            ("cosmos", "original", "blocks.block0.blocks.0.block.attn.to_q.0 x_embedder.proj.1"),
            ("omnigen2", "diffusers", ("layers.0.attn.to_q norm_out.linear_1 ref_image_patch_embedder ref_image_refiner.0.attn.to_q "
                "time_caption_embed.timestep_embedder.linear_1 x_embedder image_index_embedding")),
            ("f_lite", "original", ("blocks.0.cross_attn.context_kv blocks.0.self_attn.qkv final_modulation.1 final_proj patch_embed.patch_proj "
                "register_tokens")),
            ("zeta_chroma", "original", ("cap_embedder.1 dec_net.cond_embed dec_net.final_layer.linear dec_net.input_embedder.embedder.0 "
                "layers.0.attention.to_q noise_refiner.0.attention.to_q")),
        ],
    )  # fmt: skip
    def test_models_that_peers_load(self, family: str, layout: str, keys: str) -> None:
        """The keys of the classes that recognised.toml names as sources."""
        plain = ("register_tokens", "image_index_embedding")
        tensors = {key if key in plain else f"{key}.weight": TensorInfo("BF16", (4, 4)) for key in keys.split()}
        tensors["x_embedder.weight"] = (
            TensorInfo("BF16", (2520, 64)) if family == "omnigen2" else tensors.get("x_embedder.weight")
        )
        found = detect(made({key: info for key, info in tensors.items() if info}))
        assert (found.family, found.layout) == (family, layout)

    @pytest.mark.parametrize(
        ("keys", "words"),
        [
            ("model.model.transformer.rotary_pos_emb.inv_freq model.model.to_timestep_embed.0.weight", "Stable Audio"),
            ("latent_in.weight cond_in.weight double_blocks.0.img_attn.qkv.weight", "Hunyuan3D"),
        ],
    )
    def test_models_of_other_things_are_named(self, keys: str, words: str) -> None:
        assert words in detect(made({key: TensorInfo("BF16", (4, 4)) for key in keys.split()})).evidence[0]

    def test_hidream_o1_is_no_text_encoder(self) -> None:
        pixels = {
            "model.x_embedder.proj1.weight": (1024, 3072), "model.x_embedder.proj2.weight": (4096, 1024),
            "model.t_embedder1.mlp.0.weight": (4096, 256), "model.final_layer2.linear.weight": (3072, 4096),
        }  # fmt: skip
        tensors = sized("te-qwen3-vl-8b") | {key: TensorInfo("BF16", shape) for key, shape in pixels.items()}
        assert detect(made(tensors)).family == "hidream_o1"

    @pytest.mark.parametrize("name", [name for name in recorded_models.names() if bare(name)])
    def test_every_model_scaled_by_transformers_is_still_named(self, name: str) -> None:
        alone = bare(name)
        assert alone
        found = detect(dataclasses.replace(alone, tensors=scaled(alone.tensors, "weight_scale_inv")))
        assert found.family == detect(alone).family
        assert found.scaled


class TestControlNets:
    def test_lllite_of_anima(self) -> None:
        """Source: sd-scripts networks/control_net_lllite_anima.py, its format 2."""
        shapes = {
            "lllite_conditioning1.conv1.weight": (32, 3, 4, 4),
            "lllite_conditioning1.proj.weight": (32, 64, 1, 1),
        }
        for block in range(28):
            start = f"lllite_dit_blocks_{block}_self_attn_q_proj"
            shapes |= {
                f"{start}.down.weight": (64, 2048),
                f"{start}.up.weight": (2048, 64),
                f"{start}.mid.weight": (64, 96),
            }
            shapes |= {f"{start}.cond_to_film.weight": (128, 32), f"{start}.depth_embed": (32,)}
        found = detect(made({key: TensorInfo("BF16", shape) for key, shape in shapes.items()}))
        assert (found.role, found.base_family) == ("controlnet", "anima")
        assert "ControlNet-LLLite" in found.evidence[0]

    @pytest.mark.parametrize(("control", "refiner", "width"), [(6, 0, 64), (15, 2, 132), (3, 2, 132)])
    def test_z_image_fun(self, control: int, refiner: int, width: int) -> None:
        """Source: diffusers models/controlnets/controlnet_z_image.py; ComfyUI comfy_extras/nodes_model_patch.py."""
        alone = bare("folder-z-image")
        assert alone
        block = {
            key.removeprefix("layers.0."): info for key, info in alone.tensors.items() if key.startswith("layers.0.")
        }
        tensors = {"control_all_x_embedder.2-1.weight": TensorInfo("BF16", (3840, width))}
        for stack, count in (("control_layers", control), ("control_noise_refiner", refiner)):
            tensors |= {f"{stack}.{number}.{key}": info for number in range(count) for key, info in block.items()}
        tensors["control_layers.0.before_proj.weight"] = TensorInfo("BF16", (3840, 3840))
        found = detect(made(tensors))
        assert (found.role, found.base_family) == ("controlnet", "z_image")

    def test_the_control_lora_of_flux_with_its_biases(self) -> None:
        """FLUX.1 Depth and Canny as LoRAs. Source: diffusers loaders/lora_conversion_utils.py, _convert_bfl_flux_control_lora_to_diffusers."""
        tensors: dict[str, TensorInfo] = {}
        for module, (outputs, inputs) in {
            "img_in": (3072, 128),
            "double_blocks.0.img_attn.qkv": (9216, 3072),
            "single_blocks.0.linear1": (21504, 3072),
        }.items():
            tensors |= {
                f"{module}.lora_A.weight": TensorInfo("BF16", (128, inputs)),
                f"{module}.lora_B.weight": TensorInfo("BF16", (outputs, 128)),
            }
            tensors[f"{module}.lora_B.bias"] = TensorInfo("BF16", (outputs,))
        tensors["double_blocks.0.img_attn.norm.key_norm.scale"] = TensorInfo("BF16", (128,))
        found = detect(made(tensors))
        assert (found.role, found.base_family, found.rank) == ("lora", "flux", 128)


def test_quantized_files_are_smaller_than_their_plain_ones() -> None:
    """The test files themselves are sound: no weight is lost when they are packed."""
    plain = sized("te-qwen3-4b")
    packed = quanto(plain)
    assert json.dumps(sorted(plain)) == json.dumps(
        sorted(key.removesuffix("._data") for key in packed if not key.endswith("_scale"))
    )
    assert sum(math.prod(info.shape) for info in packed.values()) >= sum(
        math.prod(info.shape) for info in plain.values()
    )
