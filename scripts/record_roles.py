"""Records the headers in tests/data/roles: LoRAs, ControlNets, VAEs, text encoders and other files in model folders.

Run it with an engine's Python, which has the required packages. Nothing is downloaded, and models have no weights:

    workspace/engines/kohya/venv/bin/python scripts/record_roles.py sd-scripts CHECKOUT
    workspace/engines/simpletuner/venv/bin/python scripts/record_roles.py simpletuner

CHECKOUT is an sd-scripts source with its configs/. Each record names its class; `base` is the family it was made for, `kind`
the algorithm of a LoRA or the id of a part in the catalogue, `rank` that of a LoRA.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from header_folding import fold
from record_headers import local, shapes

FOLDER = Path(__file__).parents[1] / "tests" / "data" / "roles"
RANK, ALPHA = 8, 4
ALGORITHMS = {
    "locon": {"algo": "locon"}, "dora": {"algo": "locon", "dora_wd": True}, "loha": {"algo": "loha"},
    "lokr": {"algo": "lokr", "factor": 16}, "lokr-full": {"algo": "lokr", "factor": 16, "full_matrix": True},
    "glora": {"algo": "glora"}, "oft": {"algo": "diag-oft"}, "boft": {"algo": "boft"}, "ia3": {"algo": "ia3"},
    "full": {"algo": "full"},
}  # fmt: skip
# Source: stable-diffusion-v1-5 and stable-diffusion-xl-base-1.0, unet/config.json.
SD15 = {"cross_attention_dim": 768}
SD2 = {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}
SDXL = {
    "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20], "use_linear_projection": True,
    "transformer_layers_per_block": [1, 2, 10], "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816, "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
}  # fmt: skip
SDXL_UP = {"up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"]}


def write(name: str, about: str, role: str, tensors: Mapping[str, str], **said: Any) -> None:
    """Writes one record."""
    FOLDER.mkdir(exist_ok=True)
    recorded = {"about": about, "role": role, "metadata": {}, **said, "tensors": fold(tensors)}
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(recorded, separators=(",", ":")) + "\n")
    print(f"{name}: {len(tensors)} tensors in {path.stat().st_size} bytes")


def lora(
    name: str, about: str, tensors: Mapping[str, str], base: str | None, kind: str = "lora", rank: int | None = RANK
) -> None:
    """Writes the record of a LoRA."""
    write(f"lora-{name}", about, "lora", tensors, base=base, kind=kind, rank=rank)


# ---- by SimpleTuner's environment: PEFT, LyCORIS, diffusers, transformers ----


def simpletuner(only: Sequence[str]) -> None:
    """Records files of PEFT, LyCORIS, diffusers and transformers; `only` limits it to some functions, such as "vaes"."""
    torch = importlib.import_module("torch")
    torch.Tensor.cpu = lambda self: self  # LyCORIS looks at weights that have no values here
    rooms = (_peft_loras, _lycoris_loras, _vaes, _clips, _t5s, _language_models, _controlnets)
    with torch.device("meta"):
        for each in rooms:
            if not only or each.__name__[1:] in only:
                each()


def _models() -> Iterator[tuple[str, str, str, Any]]:
    """The diffusion models of every family: a name, the family, the prefix of saved LoRAs, the model."""
    diffusers = importlib.import_module("diffusers")
    families = importlib.import_module("record_families")
    for name, config in (("sd15", SD15), ("sd2", SD2), ("sdxl", {**SDXL, **SDXL_UP})):
        yield name, name, "unet", diffusers.UNet2DConditionModel(**config)
    yield "flux", "flux", "transformer", diffusers.FluxTransformer2DModel(guidance_embeds=True)
    yield "chroma", "chroma", "transformer", diffusers.ChromaTransformer2DModel()
    yield "lumina2", "lumina2", "transformer", diffusers.Lumina2Transformer2DModel(cap_feat_dim=2304)
    yield (
        "hunyuan-image",
        "hunyuan_image",
        "transformer",
        diffusers.HunyuanImageTransformer2DModel(text_embed_2_dim=1472),
    )
    anima = importlib.import_module("simpletuner.helpers.models.anima.pipeline").AnimaPipeline
    kind = importlib.import_module("typing").get_type_hints(anima.__init__)["transformer"]
    yield "anima", "anima", "transformer", kind()
    for row in families.ROWS:
        if row.name not in ("qwen-image-edit", "qwen-image-layered", "z-image-omni", "sana-sprint", "stable-video"):
            part, model = families._built(diffusers, row)
            yield row.name, row.family, part, model


def _peft_loras() -> None:
    """LoRAs of the attention of every family, and of all layers of a few, with the keys of diffusers' save_lora_weights."""
    peft = importlib.import_module("peft")
    torch = importlib.import_module("torch")
    pack = importlib.import_module("diffusers.loaders.lora_base").LoraBaseMixin.pack_weights
    everything = {
        "sd15",
        "sdxl",
        "flux",
        "chroma",
        "flux2-klein-4b",
        "qwen-image",
        "sd35-large",
        "hunyuan-video",
        "pixart-sigma",
    }
    for name, family, prefix, model in _models():
        linear = [key for key, each in model.named_modules() if isinstance(each, torch.nn.Linear)]
        ours = ("to_q", "to_k", "to_v", "to_qkv", "qkv", "to_qkv_mlp_proj", "q_proj", "k_proj", "v_proj")
        attention = [key for key in linear if key.rpartition(".")[2] in ours]
        for suffix, targets in (("", attention), *((("-all", linear),) if name in everything else ())):
            if targets:
                config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets)
                wrapped = peft.inject_adapter_in_model(config, model)
                state = pack(peft.get_peft_model_state_dict(wrapped), prefix)
                about = f"PEFT over {type(model).__name__} of diffusers, {'every linear layer' if suffix else 'its attention'}."
                lora(f"peft-{name}{suffix}", about, shapes(state, "BF16"), family)
                for key, each in list(model.named_modules()):
                    if hasattr(each, "base_layer"):
                        parent, _, leaf = key.rpartition(".")
                        setattr(model.get_submodule(parent), leaf, each.base_layer)


def _lycoris_loras() -> None:
    """Every algorithm of LyCORIS on a FLUX with one block of each kind, as SimpleTuner creates and saves it."""
    lycoris = importlib.import_module("lycoris")
    diffusers = importlib.import_module("diffusers")
    for name, options in ALGORITHMS.items():
        model = diffusers.FluxTransformer2DModel(num_layers=1, num_single_layers=1, guidance_embeds=True)
        # BOFT needs sizes that its rank divides into powers of two.
        blocks = ["FluxAttention"] if name == "boft" else ["FluxTransformerBlock", "FluxSingleTransformerBlock"]
        lycoris.LycorisNetwork.apply_preset({"target_module": blocks})
        network = lycoris.create_lycoris(model, 1.0, 6 if name == "boft" else RANK, ALPHA, **options)
        network.apply_to()
        kind = {"locon": "lora", "lokr-full": "lokr"}.get(name, name)
        ranked = name in ("locon", "dora", "loha", "lokr", "glora")
        about = f"create_lycoris over FluxTransformer2DModel, {options}."
        lora(f"lycoris-flux-{name}", about, shapes(network.state_dict(), "F32"), "flux", kind, RANK if ranked else None)
    lycoris.LycorisNetwork.apply_preset({"target_module": ["Transformer2DModel", "ResnetBlock2D"]})
    network = lycoris.create_lycoris(diffusers.UNet2DConditionModel(**SD15), 1.0, RANK, ALPHA, algo="locon")
    network.apply_to()
    about = "create_lycoris over UNet2DConditionModel of SD1.5, with its convolutions."
    lora("lycoris-sd15-locon", about, shapes(network.state_dict(), "F32"), "sd15", "locon")


def _vaes() -> None:
    diffusers = importlib.import_module("diffusers")
    down, up = ["DownEncoderBlock2D"] * 4, ["UpDecoderBlock2D"] * 4
    usual = {
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "down_block_types": down,
        "up_block_types": up,
    }
    wide = {**usual, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}
    # Source: Wan2.2-TI2V-5B-Diffusers, vae/config.json.
    wan22 = {"base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "in_channels": 12, "out_channels": 12, "is_residual": True,
             "patch_size": 2, "latents_mean": [0.0] * 48, "latents_std": [1.0] * 48}  # fmt: skip
    # Source: Sana_1600M_1024px_diffusers, vae/config.json.
    sana = {"latent_channels": 32, "encoder_block_out_channels": [128, 256, 512, 512, 1024, 1024],
            "decoder_block_out_channels": [128, 256, 512, 512, 1024, 1024]}  # fmt: skip
    rows = (
        ("sd-diffusers", "vae_sd", "AutoencoderKL", usual), ("16ch-diffusers", "vae_16ch", "AutoencoderKL", wide),
        ("flux2", "vae_flux2", "AutoencoderKLFlux2", {}), ("hunyuan-image-diffusers", "vae_hunyuan_image", "AutoencoderKLHunyuanImage",
            {"in_channels": 3, "out_channels": 3, "latent_channels": 64, "block_out_channels": (128, 256, 512, 512, 1024, 1024),
             "layers_per_block": 2, "spatial_compression_ratio": 32, "sample_size": 384}),
        ("dc-ae", "vae_dc_ae", "AutoencoderDC", sana), ("wan22", "vae_wan22", "AutoencoderKLWan", wan22),
        ("wan21", "vae_qwen_image", "AutoencoderKLWan", {}), ("hunyuan-video", "vae_hunyuan_video", "AutoencoderKLHunyuanVideo", {}),
        ("qwen-image21", "vae_qwen_image21", "AutoencoderKLQwenImage21", {}),
        ("taesd", "taesd", "AutoencoderTiny", {}), ("cogvideo", "", "AutoencoderKLCogVideoX", {}),
    )  # fmt: skip
    for name, kind, cls, config in rows:
        model = getattr(diffusers, cls)(**config)
        write(f"vae-{name}", f"{cls} of diffusers.", "vae", shapes(model.state_dict(), "BF16"), kind=kind)


def _text(name: str, kind: str, model: Any, about: str = "", prefix: str = "") -> None:
    about = about or f"{type(model).__name__} of transformers."
    write(f"te-{name}", about, "text_encoder", shapes(model.state_dict(), "BF16", prefix), kind=kind)


def _clips() -> None:
    transformers = importlib.import_module("transformers")
    sizes = {
        "clip_l": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
        "clip_g": {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20},
        "clip_h": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16},
    }
    for kind, size in sizes.items():
        config = transformers.CLIPTextConfig(vocab_size=49408, **size)
        _text(f"{kind.replace('_', '-')}-projection", kind, transformers.CLIPTextModelWithProjection(config))
    for kind, places in (("clip_l", 248), ("clip_g", 218)):
        config = transformers.CLIPTextConfig(vocab_size=49408, max_position_embeddings=places, **sizes[kind])
        _text(f"long-{kind.replace('_', '-')}", f"long_{kind}", transformers.CLIPTextModelWithProjection(config))
    open_clip = importlib.import_module("open_clip")
    for name, kind in (("ViT-L-14", "clip_l"), ("ViT-bigG-14", "clip_g"), ("ViT-H-14", "clip_h")):
        config = open_clip.get_model_config(name)
        layers = {**config["text_cfg"], "layers": 23} if kind == "clip_h" else config["text_cfg"]
        model = open_clip.CLIP(config["embed_dim"], {**config["vision_cfg"], "layers": 1}, layers)
        state = {key: value for key, value in model.state_dict().items() if not key.startswith("visual.")}
        about = f"Text part of {name} of open_clip."
        write(f"te-open-{kind.replace('_', '-')}", about, "text_encoder", shapes(state, "F16"), kind=kind)
    vision = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(num_hidden_layers=2))
    tensors = shapes(vision.state_dict(), "F16")
    write("other-clip-vision", "CLIPVisionModelWithProjection of transformers, two layers.", "unknown", tensors)


def _t5s() -> None:
    transformers = importlib.import_module("transformers")
    xxl = {
        "d_model": 4096,
        "d_ff": 10240,
        "d_kv": 64,
        "num_layers": 24,
        "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
    }
    xl = {**xxl, "d_model": 2048, "d_ff": 5120, "num_heads": 32}
    base = {**xxl, "d_model": 768, "d_ff": 2048, "num_heads": 12, "num_layers": 12}
    byt5 = {**xxl, "d_model": 1472, "d_ff": 3584, "num_heads": 6, "num_layers": 12}
    rows = (
        ("t5xxl-full", "t5xxl", "T5ForConditionalGeneration", {**xxl, "num_decoder_layers": 2}), ("t5xl", "t5xl", "T5EncoderModel", xl),
        ("t5base", "t5base", "T5EncoderModel", base), ("umt5-xxl", "umt5_xxl", "UMT5EncoderModel", {**xxl, "vocab_size": 256384}),
        ("pile-t5xl", "pile_t5xl", "UMT5EncoderModel", {**xl, "vocab_size": 32128}),
        ("byt5-plain", "byt5_small", "T5EncoderModel", {**byt5, "vocab_size": 384}),
        ("byt5-glyph", "byt5_glyph", "T5EncoderModel", {**byt5, "vocab_size": 1510}),
    )  # fmt: skip
    for name, kind, cls, config in rows:
        options = transformers.UMT5Config if cls.startswith("UMT5") else transformers.T5Config
        _text(name, kind, getattr(transformers, cls)(options(**config)))


def _language_models() -> None:
    """Language models with the sizes in their own config.json."""
    transformers = importlib.import_module("transformers")
    words = {"vocab_size": 151936, "head_dim": 128, "num_key_value_heads": 8}
    qwen3 = (
        ("qwen3-17b", "qwen3_17b", {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16}),
        ("qwen3-4b", "qwen3_4b", {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32}),
        ("qwen3-8b", "qwen3_8b", {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32}),
    )  # fmt: skip
    for name, kind, config in qwen3:
        _text(name, kind, transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**words, **config)))
    llama = {"vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
             "num_key_value_heads": 8}  # fmt: skip
    _text("llama31-8b", "llama31_8b", transformers.LlamaForCausalLM(transformers.LlamaConfig(**llama)))
    _text("mistral-7b", "", transformers.MistralForCausalLM(transformers.MistralConfig()))
    mistral = {"vocab_size": 131072, "hidden_size": 5120, "intermediate_size": 32768, "num_attention_heads": 32, "head_dim": 128,
               "num_key_value_heads": 8}  # fmt: skip
    for name, layers in (("mistral3-24b", 40), ("mistral3-flux2", 30)):
        config = transformers.MistralConfig(**mistral, num_hidden_layers=layers)
        _text(name, "mistral3_24b", transformers.MistralForCausalLM(config))
    # The part for images has the defaults of its class: the 0.4 billion weights that Mistral names for Ministral 3.
    small = {"model_type": "ministral3", "vocab_size": 131072, "hidden_size": 3072, "intermediate_size": 9216, "num_hidden_layers": 26,
             "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}  # fmt: skip
    config = transformers.Mistral3Config(text_config=small, vision_config={"model_type": "pixtral"})
    _text("ministral3-3b", "ministral3_3b", transformers.Mistral3Model(config))
    vl = {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 2,
          "vocab_size": 151936}  # fmt: skip
    for (_, _, size), kind in zip(qwen3, ("2b", "4b", "8b"), strict=True):
        config = transformers.Qwen3VLConfig(text_config={**words, **size})
        _text(f"qwen3-vl-{kind}", f"qwen3_vl_{kind}", transformers.Qwen3VLForConditionalGeneration(config))
    config = transformers.Qwen2_5_VLConfig(text_config=vl)
    _text("qwen25-vl-3b", "qwen25_vl_3b", transformers.Qwen2_5_VLForConditionalGeneration(config))
    gemma = {"head_dim": 256, "vocab_size": 262208}
    four = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "num_attention_heads": 8,
            "num_key_value_heads": 4}  # fmt: skip
    twelve = {
        "hidden_size": 3840,
        "intermediate_size": 15360,
        "num_hidden_layers": 48,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
    }
    for name, kind, size in (("gemma3-4b", "gemma3_4b", four), ("gemma3-12b", "gemma3_12b", twelve)):
        _text(name, kind, transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(**gemma, **size)))
    _text(
        "gemma2-9b",
        "",
        transformers.Gemma2ForCausalLM(transformers.Gemma2Config(hidden_size=3584, num_hidden_layers=42)),
    )
    glm = importlib.import_module("diffusers.pipelines.kolors.text_encoder")
    config = glm.ChatGLMConfig(num_layers=28, padded_vocab_size=65024, hidden_size=4096, ffn_hidden_size=13696, kv_channels=128,
        num_attention_heads=32, add_qkv_bias=True, multi_query_attention=True, multi_query_group_num=2, rmsnorm=True, post_layer_norm=True,
        add_bias_linear=False, original_rope=True)  # fmt: skip
    _text("chatglm3-6b", "chatglm3_6b", glm.ChatGLMModel(config), "ChatGLMModel of diffusers.")


def _controlnets() -> None:
    diffusers = importlib.import_module("diffusers")
    rows = (
        ("sd15", "sd15", "ControlNetModel", SD15), ("sdxl", "sdxl", "ControlNetModel", SDXL),
        ("flux", "flux", "FluxControlNetModel", {"num_layers": 4, "num_single_layers": 4, "guidance_embeds": True}),
        ("sd3", "sd3", "SD3ControlNetModel", {"num_layers": 6, "num_attention_heads": 24, "caption_projection_dim": 1536}),
        ("qwen-image", "qwen_image", "QwenImageControlNetModel", {"num_layers": 4}),
    )  # fmt: skip
    for name, base, cls, config in rows:
        model = getattr(diffusers, cls)(**config)
        write(f"controlnet-{name}", f"{cls} of diffusers.", "controlnet", shapes(model.state_dict(), "F16"), base=base)
    adapter = diffusers.T2IAdapter()
    write("other-t2i-adapter", "T2IAdapter of diffusers.", "unknown", shapes(adapter.state_dict(), "F16"))
    motion = diffusers.MotionAdapter()
    write("other-motion", "MotionAdapter of diffusers.", "unknown", shapes(motion.state_dict(), "F16"))


# ---- by kohya's environment: sd-scripts' networks ----


def sd_scripts(source: Path) -> None:
    """Records the networks of an sd-scripts checkout on its own model classes, with a few blocks where there are many."""
    sys.path.insert(0, str(source))
    torch = importlib.import_module("torch")
    with torch.device("meta"):
        _kohya_unets()
        _kohya_transformers(source)


def _library(name: str) -> Any:
    return importlib.import_module(f"library.{name}")


def _kohya(name: str, module: str, base: str | None, texts: list[Any], model: Any, **options: Any) -> None:
    create = importlib.import_module(f"networks.{module}").create_network
    network = create(1.0, RANK, ALPHA, None, texts, model, neuron_dropout=None, **options)
    is_oft = module.startswith("oft")
    trained = [each for each in (*network.modules(),) if hasattr(each, "lora_name")] if is_oft else []
    state = network.state_dict() or {
        f"{each.lora_name}.{key}": value for each in trained for key, value in each.state_dict().items()
    }
    if not state:
        network.apply_to(texts, model, bool(texts), model is not None)
        state = network.state_dict()
    state = {key: value for key, value in state.items() if "org_module" not in key}
    about = f"sd-scripts networks/{module}.py over {type(model).__name__}{' and its text encoders' if texts else ''}."
    lora(f"kohya-{name}", about, shapes(state, "F16"), base, "oft" if is_oft else "lora", None if is_oft else RANK)


def _clip(**size: int) -> Any:
    transformers = importlib.import_module("transformers")
    return transformers.CLIPTextModel(transformers.CLIPTextConfig(vocab_size=49408, num_hidden_layers=2, **size))


def _kohya_unets() -> None:
    clip_l, clip_g = _clip(hidden_size=768, intermediate_size=3072), _clip(hidden_size=1280, intermediate_size=5120)
    clip_h = _clip(hidden_size=1024, intermediate_size=4096)
    utils, original = _library("model_util"), _library("original_unet")
    unets = {
        "sd15": original.UNet2DConditionModel(**utils.create_unet_diffusers_config(v2=False)),
        "sd2": original.UNet2DConditionModel(**utils.create_unet_diffusers_config(v2=True)),
        "sdxl": _library("sdxl_original_unet").SdxlUNet2DConditionModel(),
    }
    texts = {"sd15": [clip_l], "sd2": [clip_h], "sdxl": [clip_l, clip_g]}
    for base, unet in unets.items():
        _kohya(base, "lora", base, texts[base], unet)
    _kohya("sd15-oft", "oft", "sd15", [], original.UNet2DConditionModel(**utils.create_unet_diffusers_config(v2=False)))
    lite = importlib.import_module("networks.control_net_lllite").ControlNetLLLite(unets["sdxl"], 32, 64)
    state = {
        f"{each.lllite_name}.{key}": value for each in lite.unet_modules for key, value in each.state_dict().items()
    }
    tensors = shapes({key: value for key, value in state.items() if "org_module" not in key}, "F16")
    write("controlnet-lllite", "ControlNetLLLite of sd-scripts over its SDXL.", "controlnet", tensors, base="sdxl")


def _kohya_transformers(source: Path) -> None:
    dataclasses, transformers = importlib.import_module("dataclasses"), importlib.import_module("transformers")
    clip_l, clip_g = _clip(hidden_size=768, intermediate_size=3072), _clip(hidden_size=1280, intermediate_size=5120)
    sizes = {"d_model": 4096, "d_ff": 10240, "num_layers": 2, "num_heads": 64, "feed_forward_proj": "gated-gelu"}
    t5 = transformers.T5EncoderModel(transformers.T5Config(**sizes))
    flux, chroma = _library("flux_models"), _library("chroma_models")
    few = partial(dataclasses.replace, depth=2, depth_single_blocks=2)
    _kohya("flux", "lora_flux", "flux", [clip_l, t5], flux.Flux(few(flux.configs["dev"].params)), train_t5xxl=True)
    _kohya("flux-text", "lora_flux", None, [clip_l, None], importlib.import_module("torch").nn.Module())
    _kohya("flux-oft", "oft_flux", "flux", [], flux.Flux(few(flux.configs["dev"].params)), enable_all_linear="True")
    _kohya("chroma", "lora_flux", None, [None, None], chroma.Chroma(few(chroma.chroma_params)))
    sd3 = _library("sd3_models")
    params = sd3.SD3Params(2, 24, 4096, 192, 2048, None, [], 4096, 1536, "medium")  # the depth is the width / 64
    _kohya("sd3", "lora_sd3", "sd3", [clip_l, clip_g, None], sd3.create_sd3_mmdit(params))
    nothing = importlib.import_module("torch").nn.Module()
    _kohya(
        "lumina2", "lora_lumina", "lumina2", [nothing], _library("lumina_models").NextDiT_2B_GQA_patch2_Adaln_Refiner()
    )
    hunyuan = _library("hunyuan_image_models").HYImageDiffusionTransformer()
    _kohya("hunyuan-image", "lora_hunyuan_image", "hunyuan_image", [nothing], hunyuan)
    model = _library("anima_models").Anima(**local(_library("anima_utils").load_anima_model, "dit_config"))
    _kohya("anima", "lora_anima", "anima", [nothing], model)


if __name__ == "__main__":
    if sys.argv[1:2] == ["sd-scripts"]:
        sd_scripts(Path(sys.argv[2]).resolve())
    else:
        simpletuner(sys.argv[2:])
