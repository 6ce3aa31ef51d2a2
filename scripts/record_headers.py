"""Records the headers in tests/data/headers from the engines' own model classes, built without weights.

Run it with an engine's Python, which has the required packages. Nothing is downloaded:

    workspace/engines/kohya/venv/bin/python scripts/record_headers.py sd-scripts CHECKOUT
    workspace/engines/simpletuner/venv/bin/python scripts/record_headers.py simpletuner

CHECKOUT is an sd-scripts source with its configs/, which the engine's own copy may lack. Keys and shapes come from the
classes; the keys then get the prefix or names that the loader of that class expects in its files. The dtypes are those of
the distributed models.
"""

import ast
import importlib
import inspect
import json
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from header_folding import fold

FOLDER = Path(__file__).parents[1] / "tests" / "data" / "headers"
FORMATS = {"torch.bfloat16": "BF16", "torch.float16": "F16", "torch.float32": "F32"}

Shapes = dict[str, str]
"""The dtype and shape of each tensor: {"img_in.weight": "BF16 3072x64"}."""


def shapes(state: Mapping[str, Any], number_format: str, prefix: str = "") -> Shapes:
    """The tensors of a state dict as a header lists them, all with one dtype."""
    return {f"{prefix}{key}": f"{number_format} {'x'.join(map(str, value.shape))}" for key, value in state.items()}


def renamed(found: Shapes, prefixes: Mapping[str, str]) -> Shapes:
    """The same tensors, with the first matching prefix of each key replaced."""

    def other(key: str) -> str:
        old = next((old for old in prefixes if key.startswith(old)), "")
        return prefixes.get(old, "") + key.removeprefix(old)

    return {other(key): value for key, value in found.items()}


def write(name: str, about: str, family: str | None, role: str, **parts: Any) -> None:
    """Writes one recorded header; `parts` are its tensors and, for a folder, its configs."""
    tensors = fold(parts.pop("tensors"))
    recorded = {"about": about, "family": family, "role": role, "metadata": {}, **parts, "tensors": tensors}
    (FOLDER / f"{name}.json").write_text(json.dumps(recorded, separators=(",", ":")))
    print(f"{name}: {about}")


def local(function: Callable[..., Any], name: str) -> Any:
    """A constant that is assigned inside a function; table entries that depend on arguments are left out."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    assigned = next(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name
    )
    if not isinstance(assigned, ast.Dict):
        return json.loads(ast.literal_eval(assigned))
    pairs = zip(assigned.keys, assigned.values, strict=True)
    return {ast.literal_eval(key): ast.literal_eval(value) for key, value in pairs if not isinstance(value, ast.Name)}


def sd_scripts(source: Path) -> None:
    """Records every header from the classes in an sd-scripts checkout."""
    sys.path.insert(0, str(source))
    torch = importlib.import_module("torch")
    with torch.device("meta"):
        _diffusion_models()
        _sd2()
        _text_encoders(source)
        _vaes()


def _module(name: str) -> Any:
    return importlib.import_module(f"library.{name}")


def _diffusion_models() -> None:
    about = "Bare diffusion model, from sd-scripts' modules."
    chroma = _module("chroma_models")
    found = shapes(chroma.Chroma(chroma.chroma_params).state_dict(), "BF16")
    write("chroma", about, "chroma", "diffusion_model", tensors=found)
    model = _module("lumina_models").NextDiT_2B_GQA_patch2_Adaln_Refiner()
    write("lumina2", about, "lumina2", "diffusion_model", tensors=shapes(model.state_dict(), "BF16"))
    model = _module("hunyuan_image_models").HYImageDiffusionTransformer()
    write("hunyuan-image", about, "hunyuan_image", "diffusion_model", tensors=shapes(model.state_dict(), "BF16"))
    config = local(_module("anima_utils").load_anima_model, "dit_config")
    model = _module("anima_models").Anima(**config)
    about = "Bare diffusion model with the prefix it is distributed and saved with, from sd-scripts' modules."
    write("anima", about, "anima", "diffusion_model", tensors=shapes(model.state_dict(), "BF16", "net."))


def _sd2() -> None:
    utils = _module("model_util")
    transformers = importlib.import_module("transformers")
    # Source: sd-scripts library/model_util.py, load_models_from_stable_diffusion_checkpoint: sizes of the v2 text encoder.
    sizes = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16}
    text_encoder = transformers.CLIPTextModel(transformers.CLIPTextConfig(vocab_size=49408, **sizes))
    unet = _module("original_unet").UNet2DConditionModel(**utils.create_unet_diffusers_config(v2=True))
    vae = importlib.import_module("diffusers").AutoencoderKL(**utils.create_vae_diffusers_config())
    text = utils.convert_text_encoder_state_dict_to_sd_v2(text_encoder.state_dict(), make_dummy_weights=True)
    found = (
        shapes(utils.convert_unet_state_dict_to_sd(True, unet.state_dict()), "F16", "model.diffusion_model.")
        | shapes(text, "F16", "cond_stage_model.model.")
        | shapes(utils.convert_vae_state_dict(vae.state_dict()), "F16", "first_stage_model.")
    )
    write("sd2", "SD2.1 checkpoint, LDM layout, from sd-scripts' converters.", "sd2", "checkpoint", tensors=found)
    about = "Bare diffusion model in the keys of diffusers, from sd-scripts' modules."
    write("unet-sd2-diffusers", about, "sd2", "diffusion_model", tensors=shapes(unet.state_dict(), "F16"))


def _text_encoders(source: Path) -> None:
    transformers = importlib.import_module("transformers")
    hunyuan = _module("hunyuan_image_text_encoder")

    def record(name: str, title: str, found: Shapes) -> None:
        about = f"{title} text encoder, in the keys of the file that sd-scripts reads."
        write(name, about, None, "text_encoder", tensors=found)

    record("clip-g", "OpenCLIP ViT-bigG/14", shapes(_loaded("sd3_utils", "load_clip_g"), "F16"))
    record("t5xxl", "T5 v1.1 XXL", shapes(_loaded("flux_utils", "load_t5xxl"), "F16"))
    record("gemma2-2b", "Gemma 2 2B", shapes(_loaded("lumina_util", "load_gemma2"), "F16", "model."))
    config = transformers.T5Config(**local(hunyuan.load_byt5, "BYT5_CONFIG_JSON"))
    found = shapes(transformers.T5ForConditionalGeneration(config).get_encoder().state_dict(), "F16")
    record("byt5-small", "ByT5 small", renamed(found, {"embed_tokens.": "shared.", "": "encoder."}))
    config = transformers.Qwen2_5_VLConfig(**local(hunyuan.load_qwen2_5_vl, "QWEN2_5_VL_CONFIG_JSON"))
    found = shapes(transformers.Qwen2_5_VLForConditionalGeneration(config).state_dict(), "BF16")
    spelling = {"model.language_model.": "model.", "model.visual.": "visual."}
    record("qwen25-vl-7b", "Qwen2.5-VL 7B", renamed(found, spelling))
    config = json.loads((source / "configs" / "qwen3_06b" / "config.json").read_text())
    model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**config)).model
    record("qwen3-06b", "Qwen3 0.6B", shapes(model.state_dict(), "BF16", "model."))


def _loaded(module: str, loader: str) -> Mapping[str, Any]:
    """The tensors of the model that a loader of sd-scripts builds, with an empty file instead of weights."""
    place = _module(module)
    place.load_safetensors = lambda *_, **__: {}
    return getattr(place, loader)("nothing", None, "meta").state_dict()


def _vaes() -> None:
    model = _module("hunyuan_image_vae").HunyuanVAE2D()
    write("vae-hunyuan-image", "VAE of HunyuanImage-2.1.", None, "vae", tensors=shapes(model.state_dict(), "F16"))
    qwen = _module("qwen_image_autoencoder_kl")
    config = {key: value for key, value in local(qwen.load_vae, "VAE_CONFIG_JSON").items() if not key.startswith("_")}
    accepted = inspect.signature(qwen.AutoencoderKLQwenImage).parameters
    model = qwen.AutoencoderKLQwenImage(**{key: value for key, value in config.items() if key in accepted})
    found = shapes(model.state_dict(), "BF16")
    write("vae-qwen-image-diffusers", "VAE of Qwen-Image, in the keys of diffusers.", None, "vae", tensors=found)
    original = {new: old for old, new in local(qwen.convert_comfyui_state_dict, "key_map").items()}
    found = {".".join((original[key.rpartition(".")[0]], key.rpartition(".")[2])): found[key] for key in found}
    write("vae-qwen-image", "VAE of Qwen-Image, original layout.", None, "vae", tensors=found)


def simpletuner() -> None:
    """Records every diffusers folder from the classes in SimpleTuner's environment."""
    diffusers = importlib.import_module("diffusers")
    anima = importlib.import_module("simpletuner.helpers.models.anima.pipeline")
    pipelines = {
        "chroma": (diffusers.ChromaPipeline, {}),
        "lumina2": (diffusers.Lumina2Pipeline, {"cap_feat_dim": 2304}),
        "hunyuan_image": (diffusers.HunyuanImagePipeline, {"text_embed_2_dim": 1472}),
        "anima": (anima.AnimaPipeline, {}),
    }
    for family, (pipeline, config) in pipelines.items():
        _folder(f"folder-{family.replace('_', '-')}", family, pipeline, config)
    # Source: diffusers scripts/convert_hunyuan_image_to_diffusers.py, hunyuanimage2.1-distilled.
    distilled = {"text_embed_2_dim": 1472, "guidance_embeds": True, "use_meanflow": True}
    _folder("folder-hunyuan-image-distilled", "hunyuan_image", diffusers.HunyuanImagePipeline, distilled)


def _folder(name: str, family: str | None, pipeline: Any, config: Mapping[str, Any]) -> None:
    torch = importlib.import_module("torch")
    classes: dict[str, Any] = get_type_hints(pipeline.__init__)
    with torch.device("meta"):
        transformer = classes["transformer"](**config)
    models = {"transformer": transformer, "scheduler": classes["scheduler"]()}
    configs = {key: json.loads(model.to_json_string()) for key, model in models.items()}
    version = configs["transformer"]["_diffusers_version"]
    index = {"_class_name": pipeline.__name__, "_diffusers_version": version}
    index |= {key: _named(classes[key]) for key in models}
    tensors = shapes(transformer.state_dict(), "BF16", "transformer/")
    about = f"diffusers folder, from the classes of diffusers {version} and SimpleTuner."
    write(name, about, family, "checkpoint", configs={"": index, **configs}, tensors=tensors)


def _named(kind: type) -> list[str]:
    """The library and name of a class, as in model_index.json."""
    return [kind.__module__.partition(".")[0], kind.__name__]


if __name__ == "__main__":
    if sys.argv[1:2] == ["sd-scripts"]:
        sd_scripts(Path(sys.argv[2]))
    else:
        simpletuner()
