"""Writes trainer_core/estimate/layers.toml: the sizes of models and of the layers that networks change.

The sizes follow from the recorded headers in tests/data/headers, which come from the real classes. Run it with Easel's Python:

    .venv/bin/python scripts/record_layers.py

`tests/core/test_estimate_data.py` fails when the file differs from the output of this script.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.header_folding import unfold
from tests.support import recorded_headers
from trainer_core.models.detection.result import ModelSize

FILE = Path(__file__).parents[1] / "trainer_core" / "estimate" / "layers.toml"
Shapes = Mapping[str, tuple[int, ...]]

UNET = {
    "attention": r"\.attn\d\.to_(q|k|v|out\.0)",
    "mlp": r"\.ff\.net\.",
    "projection": r"\.attentions\.\d+\.proj_(in|out)",
    "residual": r"\.(resnets|downsamplers|upsamplers)\.",
    "ends": r"^(conv_in|conv_out|time_embedding\.linear_[12])$",
}
FLUX = {
    "attention": r"double_blocks\..*_attn\.(qkv|proj)",
    "mlp": r"double_blocks\..*_mlp\.|single_blocks\..*\.linear[12]",
    "modulation": r"double_blocks\..*_mod\.lin|single_blocks\..*\.modulation\.lin",
}
DIFFUSERS = {
    "attention": r"\.to_(q|k|v|out\.0)$",
    "attention_added": r"\.(add_[qkv]_proj|to_add_out)$",
    "mlp": r"\.(ff|ff_context|feed_forward|img_mlp|txt_mlp)\.",
    "block": r"\.(img|txt)_mod\.1$|\.\d+\.adaLN_modulation\.0$|to_gate$|(?:transformer_blocks|layers|_refiner)\.\d+\.(norm\d?(_context)?\.linear|proj_mlp|proj_out|adaln)|norm\d\.linear",
}
SD3 = {
    "attention": r"joint_blocks\..*\.attn2?\.(qkv|proj)",
    "mlp": r"joint_blocks\..*\.mlp\.",
    "modulation": r"joint_blocks\..*\.adaLN_modulation\.",
}
SD3_CUT = {
    "attention": r"x_block\.attn2?\.(qkv|proj)",
    "attention_added": r"context_block\.attn\.(qkv|proj)",
    "mlp": r"joint_blocks\..*\.mlp\.",
    "block": r"joint_blocks\..*\.adaLN_modulation\.",
}
LUMINA = {
    "attention": r"(layers|_refiner)\.\d+\.attention\.",
    "mlp": r"(layers|_refiner)\.\d+\.feed_forward\.",
    "modulation": r"(layers|_refiner)\.\d+\.adaLN_modulation\.",
    "final": r"final_layer\.",
}
HUNYUAN = {
    "attention": r"^double_blocks\..*_attn_(qkv|proj)",
    "mlp": r"^double_blocks\..*_mlp\.|^single_blocks\..*\.linear[12]",
    "modulation": r"^double_blocks\..*_mod\.linear|^single_blocks\..*\.modulation\.",
}
ANIMA = {
    "attention": r"^blocks\.\d+\.(self|cross)_attn\.",
    "mlp": r"^blocks\..*\.mlp\.",
    "modulation": r"^blocks\..*adaln_modulation",
    "ends": r"^(x_embedder|t_embedder|final_layer)\.",
    "adapter": r"^llm_adapter\.blocks\.",
}
FLUX2 = {**FLUX, "modulation": r"^(double_stream_modulation_(img|txt)|single_stream_modulation)\.lin"}
FLUX2_CUT = {
    **DIFFUSERS,
    "fused": r"single_transformer_blocks\.\d+\.attn\.to_qkv_mlp_proj$",
    "block": r"single_transformer_blocks\.\d+\.attn\.to_out$",
}
Z_IMAGE = {
    "attention": r"^layers\.\d+\.attention\.",
    "mlp": r"^layers\.\d+\.feed_forward\.",
    "modulation": r"^(layers|noise_refiner)\.\d+\.adaLN_modulation\.",
    "refiners": r"_refiner\.\d+\.(attention|feed_forward)\.",
}
QWEN_IMAGE = {
    "attention": r"\.attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)$",
    "mlp": r"\.(img|txt)_mlp\.",
    "modulation": r"\.(img|txt)_mod\.1$",
}
QWEN_IMAGE21 = {
    "attention": r"^transformer_blocks\.\d+\.attn\.(to_[qkv]|to_out\.0)$",
    "mlp": r"^transformer_blocks\.\d+\.img_mlp\.",
}
KREA2 = {
    "attention": r"^blocks\.\d+\.attn\.",
    "mlp": r"^blocks\.\d+\.mlp\.",
    "others": r"^(first|last\.linear|tmlp\.\d|tproj\.1|txtmlp\.\d|txtfusion\..*)$",
}
KANDINSKY5 = {
    "attention": r"attention\.to_(query|key|value)$",
    "out": r"attention\.out_layer$",
    "mlp": r"\.feed_forward\.",
    "modulation": r"_modulation\.",
}
IN_KANDINSKY5 = {
    "lora": ["attention"], "attention": ["attention", "out"], "attention_mlp": ["attention", "out", "mlp"],
    "full": ["attention", "out", "mlp", "modulation"],
}  # fmt: skip
ERNIE = {"attention": r"\.self_attention\.to_(q|k|v|out\.0)$", "mlp": r"\.mlp\."}
IN_ERNIE = {
    "lora": ["attention"], "attention": ["attention"], "attention_mlp": ["attention", "mlp"], "full": ["attention", "mlp"],
}  # fmt: skip
AURAFLOW = {
    "attention": r"^(double|single)_layers\.\d+\.attn\.",
    "mlp": r"^(double|single)_layers\.\d+\.mlp",
    "modulation": r"^(double|single)_layers\.\d+\.mod",
}
AURAFLOW_CUT = {**DIFFUSERS, "block": r"transformer_blocks\.\d+\.norm1(_context)?\.linear$"}
BLOCKS = ["attention", "mlp", "modulation"]
IN_BLOCKS = {"lora": BLOCKS, "attention": ["attention"], "attention_mlp": BLOCKS, "full": BLOCKS}
CUT = {
    "lora": ["attention"],
    "attention": ["attention", "attention_added"],
    "attention_mlp": ["attention", "attention_added", "mlp"],
    "full": ["attention", "attention_added", "mlp", "block"],
}
IN_FLUX2 = {
    "lora": ["attention", "fused"],
    "attention": ["attention", "attention_added", "fused"],
    "attention_mlp": ["attention", "attention_added", "fused", "mlp"],
    "full": ["attention", "attention_added", "fused", "mlp", "block"],
}
LINEAR = ["attention", "mlp"]
ATTENTION_MLP = {"lora": LINEAR, "attention": ["attention"], "attention_mlp": LINEAR}
ENDS = [*BLOCKS, "final"]
ALL_OF_ANIMA = [*BLOCKS, "ends", "adapter"]
IN_UNET = ["attention", "mlp", "projection"]
OF_UNET = {
    "original": {"lora": IN_UNET, "attention": ["attention"], "attention_mlp": IN_UNET, "full": list(UNET)},
    "diffusers": {"lora": ["attention"], "attention": ["attention"], "attention_mlp": ["attention", "mlp"], "full": list(UNET)},
}  # fmt: skip
"""The layers that a plain LoRA changes, and those of each choice of `network.targets`. Source: sd-scripts networks/*.py,
*_TARGET_REPLACE_MODULE; musubi-tuner networks/lora_*.py, *_TARGET_REPLACE_MODULES; lycoris/config.py; SimpleTuner helpers/models/<family>/model.py, DEFAULT_LORA_TARGET."""

MODELS: Mapping[str, Mapping[str, object]] = {
    "sd15": {"family": "sd15", "kind": "unet", "unet": "unet-sd15-diffusers", "encoders": ["clip_l"], "vae": "vae_sd"},
    "sd2": {"family": "sd2", "kind": "unet", "unet": "unet-sd2-diffusers", "encoders": ["clip_h"], "vae": "vae_sd"},
    "sdxl": {"family": "sdxl", "kind": "unet", "unet": "unet-sdxl-diffusers", "encoders": ["clip_l", "clip_g"], "vae": "vae_sd"},
    "sd3-medium": {"family": "sd3", "variant": "3-medium", "original": ("sd3-medium", SD3, IN_BLOCKS), "cut": SD3_CUT},
    "sd35-medium": {"family": "sd3", "variant": "3.5-medium", "original": ("sd35-medium", SD3, IN_BLOCKS), "cut": SD3_CUT},
    "sd35-large": {"family": "sd3", "variant": "3.5-large", "original": ("sd35-large", SD3, IN_BLOCKS), "cut": SD3_CUT},
    "flux": {
        "family": "flux", "original": ("flux-dev", FLUX, IN_BLOCKS), "folder": "folder-flux-dev",
        "encoders": ["clip_l", "t5xxl"], "trained": ["clip_l"],
    },
    "chroma": {
        "family": "chroma", "original": ("chroma", FLUX, IN_BLOCKS), "folder": "folder-chroma", "encoders": ["t5xxl"], "trained": [],
    },
    "lumina2": {
        "family": "lumina2", "original": ("lumina2", LUMINA, {**IN_BLOCKS, "lora": ENDS, "attention_mlp": ENDS, "full": ENDS}),
        "folder": "folder-lumina2", "encoders": ["gemma2"],
    },
    "hunyuan_image": {
        "family": "hunyuan_image", "original": ("hunyuan-image", HUNYUAN, IN_BLOCKS), "encoders": ["qwen_vl", "byt5"],
        "trained": [], "vae": "vae_hunyuan",
    },
    "anima": {
        "family": "anima",
        "original": ("anima", ANIMA, {**IN_BLOCKS, "lora": ["attention", "mlp"], "attention_mlp": ALL_OF_ANIMA, "full": ALL_OF_ANIMA}),
        "folder": "folder-anima", "encoders": ["qwen3"], "vae": "vae_qwen",
    },
    "flux2-dev": {
        "family": "flux2", "variant": "dev", "original": ("flux2-dev", FLUX2, {**ATTENTION_MLP, "full": BLOCKS}),
        "folder": "folder-flux2-dev", "groups": (FLUX2_CUT, IN_FLUX2), "encoders": ["mistral3_24b"], "trained": [], "vae": "vae_flux2",
    },
    "flux2-klein-9b": {
        "family": "flux2", "variant": "klein-9b", "original": ("flux2-klein-9b", FLUX2, {**ATTENTION_MLP, "full": BLOCKS}),
        "folder": "folder-flux2-klein-9b", "groups": (FLUX2_CUT, IN_FLUX2), "encoders": ["qwen3_8b"], "trained": [], "vae": "vae_flux2",
    },
    "flux2-klein-4b": {
        "family": "flux2", "variant": "klein-4b", "original": ("flux2-klein-4b", FLUX2, {**ATTENTION_MLP, "full": BLOCKS}),
        "folder": "folder-flux2-klein-4b", "groups": (FLUX2_CUT, IN_FLUX2), "encoders": ["qwen3_4b"], "trained": [], "vae": "vae_flux2",
    },
    "z_image": {
        "family": "z_image", "variant": "base", "split": True,
        "original": ("z-image", Z_IMAGE, {**ATTENTION_MLP, "full": [*BLOCKS, "refiners"]}),
        "folder": "folder-z-image", "encoders": ["qwen3_4b"], "trained": [],
    },
    "qwen_image": {
        "family": "qwen_image", "variant": "image", "original": ("folder-qwen-image", QWEN_IMAGE, {**ATTENTION_MLP, "full": BLOCKS}),
        "folder": "folder-qwen-image", "encoders": ["qwen_vl"], "trained": [], "vae": "vae_qwen",
    },
    "qwen_image21": {
        "family": "qwen_image21", "original": ("folder-qwen-image21", QWEN_IMAGE21, {**ATTENTION_MLP, "full": LINEAR}),
        "folder": "folder-qwen-image21", "groups": (QWEN_IMAGE21, {**ATTENTION_MLP, "lora": ["attention"], "full": LINEAR}),
        "encoders": ["qwen3_vl_8b"], "trained": [], "vae": "vae_qwen21",
    },
    "krea2": {
        "family": "krea2", "original": ("krea2", KREA2, {**ATTENTION_MLP, "lora": list(KREA2), "full": list(KREA2)}),
        "folder": "folder-krea2", "encoders": ["qwen3_vl_4b"], "trained": [], "vae": "vae_qwen",
    },
    **{
        f"pixart-{variant}": {
            "family": "pixart", "variant": variant, "original": (f"folder-pixart-{variant}", DIFFUSERS, CUT),
            "folder": f"folder-pixart-{variant}", "encoders": ["t5xxl"], "trained": [], "vae": "vae_sd",
        }
        for variant in ("sigma", "900m")
    },
    "kandinsky5_image": {
        "family": "kandinsky5_image", "original": ("folder-kandinsky5-image", KANDINSKY5, IN_KANDINSKY5),
        "folder": "folder-kandinsky5-image", "groups": (KANDINSKY5, IN_KANDINSKY5), "encoders": ["qwen_vl", "clip_l"],
        "trained": [],
    },
    "ernie_image": {
        "family": "ernie_image", "variant": "base", "original": ("folder-ernie-image", ERNIE, IN_ERNIE),
        "folder": "folder-ernie-image", "groups": (ERNIE, IN_ERNIE), "encoders": ["ministral3_3b"], "trained": [], "vae": "vae_flux2",
    },
    **{
        name: {
            "family": "auraflow", "variant": name, "original": ("auraflow", AURAFLOW, {**ATTENTION_MLP, "full": BLOCKS}), "folder": "folder-auraflow",
            "groups": (AURAFLOW_CUT, {**CUT, "lora": ["attention", "attention_added"]}), "encoders": ["pile_t5xl"], "trained": [],
            "vae": "vae_sd",
        }
        for name in ("auraflow", "pony-v7")
    },
    "longcat_image": {
        "family": "longcat_image", "original": ("folder-longcat-image-6b", DIFFUSERS, CUT), "folder": "folder-longcat-image-6b",
        "encoders": ["qwen_vl"], "trained": [],
    },
}  # fmt: skip
"""By id. `split`: an engine loads the original layout with queries, keys and values as layers of their own. `groups`: the
groups and targets in the layout of diffusers where they are not the usual ones."""
PARTS = {
    "clip_l": "clip-l", "clip_g": "clip-g", "clip_h": "sd2", "t5xxl": "t5xxl", "gemma2": "gemma2-2b", "qwen_vl": "qwen25-vl-7b",
    "byt5": "byt5-small", "qwen3": "qwen3-06b", "vae_sd": "vae-sd", "vae_flux": "vae-flux",
    "vae_hunyuan": "vae-hunyuan-image", "vae_qwen": "vae-qwen-image", "vae_flux2": "roles/vae-flux2",
    "qwen3_4b": "roles/te-qwen3-4b", "qwen3_8b": "roles/te-qwen3-8b", "qwen3_vl_4b": "roles/te-qwen3-vl-4b",
    "pile_t5xl": "roles/te-pile-t5xl", "mistral3_24b": "roles/te-mistral3-24b", "ministral3_3b": "roles/te-ministral3-3b", "qwen3_vl_8b": "roles/te-qwen3-vl-8b", "vae_qwen21": "roles/vae-qwen-image21",
}  # fmt: skip
TIED = ("qwen3_4b", "qwen3_vl_4b")
"""Text encoders that use their embeddings as last layer, too: their files have no lm_head. Source: their config.json."""
SWAPPED = r"^(?:net\.|model\.diffusion_model\.)?(double_blocks|single_blocks|joint_blocks|double_layers|single_layers|layers|blocks|(?:text_|visual_|single_)?transformer_blocks)\.(\d+)\."


def shapes(name: str, inside: str = "") -> Shapes:
    """The tensors of a recorded header, without the prefix of their keys; roles/ is the folder of parts."""
    if name.startswith("roles/"):
        recorded = json.loads((recorded_headers.FOLDER.parent / f"{name}.json").read_text("utf-8"))
        sizes = ((key, value.partition(" ")[2]) for key, value in unfold(recorded["tensors"]))
        return {key: tuple(int(size) for size in text.split("x") if size) for key, text in sizes}
    found = {key: shape for key, (_, shape) in recorded_headers.load(name)["tensors"].items() if key.startswith(inside)}
    prefixes = (inside, "model.diffusion_model.", "net.", "core.")
    for prefix in prefixes:
        found = {key.removeprefix(prefix): shape for key, shape in found.items()}
    return found


def size(found: Shapes) -> int:
    """The number of parameters in the tensors."""
    return sum(math.prod(shape) for shape in found.values())


def diffusion(name: str) -> Shapes:
    """The diffusion model of a header: the whole header, or its part of a checkpoint."""
    everything = recorded_headers.load(name)["tensors"]
    inside = ("model.diffusion_model.", "transformer/")
    return shapes(name, next((each for each in inside if any(key.startswith(each) for key in everything)), ""))


def layers(found: Shapes, groups: Mapping[str, str], cut: bool = False) -> Iterator[tuple[str, dict[str, int]]]:
    """Each group with its layers: {"320x320x3x3": how many}. `cut`: queries, keys and values are separate layers."""
    for group, pattern in groups.items():
        counted: Counter[str] = Counter()
        for key, shape in found.items():
            layer = key.removesuffix(".weight")
            if layer != key and len(shape) > 1 and re.search(pattern, layer):
                whole = cut and layer.endswith("qkv")
                counted["x".join(map(str, (shape[0] // 3, *shape[1:]) if whole else shape))] += 3 if whole else 1
        if counted:
            yield group, dict(sorted(counted.items()))


def blocks(found: Shapes) -> dict[str, list[int]]:
    """The blocks that can be swapped, by kind: [how many, parameters in each]."""
    kinds: dict[str, Counter[str]] = {}
    for key, shape in found.items():
        if match := re.match(SWAPPED, key):
            kinds.setdefault(match[1], Counter())[match[2]] += math.prod(shape)
    return {kind: [len(each), round(sum(each.values()) / len(each))] for kind, each in kinds.items()}


def table(name: str, spec: Mapping[str, object]) -> Iterator[str]:
    """One model as lines of TOML."""
    header = str(spec.get("unet") or spec["original"][0])  # type: ignore[index]
    found = diffusion(header)
    encoders = spec.get("encoders", ["clip_l", "clip_g", "t5xxl"])
    yield f"[models.{name}]"
    yield f'family = "{spec["family"]}"'
    yield f'variant = "{spec.get("variant", "")}"'
    yield f'kind = "{spec.get("kind", "transformer")}"'
    yield f"parameters = {size(found)}"
    counted = {layout: ModelSize.of(held.values()) for layout, (held, *_) in layouts(found, spec).items() if held}
    yield f"sizes = {toml({layout: [each.parameters, each.layers, each.sides] for layout, each in counted.items()})}"
    yield f"encoders = {toml(encoders)}"
    yield f"trained_encoders = {toml(spec.get('trained', [each for each in encoders if each != 't5xxl']))}"  # type: ignore[union-attr]
    yield f'vae = "{spec.get("vae", "vae_flux")}"'
    yield f"blocks = {toml(blocks(found) if 'unet' not in spec else {})}"
    for layout, (tensors, groups, targets, cut) in layouts(found, spec).items():
        yield f"targets.{layout} = {toml(targets)}"
        for group, counted in layers(tensors, groups, cut) if tensors else ():
            yield f"layers.{layout}.{group} = {toml(counted)}"
    yield ""


def layouts(found: Shapes, spec: Mapping[str, object]) -> dict[str, tuple[Shapes, Mapping[str, str], object, bool]]:
    """The layouts in which engines load a model: tensors, groups of layers, targets, and whether queries are separate."""
    if "unet" in spec:
        return {layout: (found if layout == "original" else {}, UNET, OF_UNET[layout], False) for layout in OF_UNET}
    _, groups, targets = spec["original"]  # type: ignore[misc]
    seen = {"original": (found, groups, targets, bool(spec.get("split")))}
    if folder := spec.get("folder"):
        cut_groups, cut_targets = spec.get("groups", (DIFFUSERS, CUT))  # type: ignore[misc]
        seen["diffusers"] = (shapes(str(folder), "transformer/"), cut_groups, cut_targets, False)
    elif cut := spec.get("cut"):
        seen["diffusers"] = (found, cut, CUT, True)
    return seen


def parts() -> Iterator[str]:
    """The text encoders and VAEs as lines of TOML, with the layers of the encoders that a LoRA changes."""
    pattern = {
        "lora": r"\.(self_attn\.[qkv]_proj|self_attn\.out_proj|self_attn\.o_proj|mlp\.(fc[12]|(gate|up|down)_proj))$"
    }
    of_sdxl = shapes("folder-sdxl", "text_encoder_2/")
    for name, header in PARTS.items():
        found = {"clip_g": of_sdxl, "clip_h": of_sd2()}.get(name) or shapes(header)
        found = {key: shape for key, shape in found.items() if name not in TIED or not key.startswith("lm_head.")}
        yield f"[parts.{name}]"
        yield f"parameters = {size(found)}"
        lora = (
            dict(layers(found, pattern)).get("lora", {})
            if not name.startswith(("vae", "qwen_vl", "byt5", "t5", "qwen3_", "mistral", "ministral", "pile"))
            else {}
        )
        if lora:
            yield f"layers = {toml(lora)}"
        yield ""


def of_sd2() -> Shapes:
    """SD2's text encoder as sd-scripts loads it: 23 of its 24 layers, with the keys of transformers.

    Source: library/model_util.py, convert_ldm_clip_checkpoint_v2: the last layer is left out.
    """
    renamed: dict[str, tuple[int, ...]] = {}
    inside = "cond_stage_model.model."
    names = {"attn.out_proj.": "self_attn.out_proj.", "mlp.c_fc.": "mlp.fc1.", "mlp.c_proj.": "mlp.fc2."}
    for key, shape in shapes("sd2", inside).items():
        if ".resblocks.23." in key:
            continue
        if key.endswith(("in_proj_weight", "in_proj_bias")):
            kind = key.rpartition("_")[2]
            each = [key.replace(f"attn.in_proj_{kind}", f"self_attn.{one}_proj.{kind}") for one in "qkv"]
            renamed |= dict.fromkeys(each, (shape[0] // 3, *shape[1:]))
        else:
            old = next((old for old in names if old in key), "")
            renamed[key.replace(old, names[old]) if old else key] = shape
    return renamed


def toml(value: object) -> str:
    """A value as one line of TOML."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f'"{key}" = {toml(each)}' for key, each in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(each) for each in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def text() -> str:
    """The content of the file."""
    head = [
        '# Sizes of models, and of the layers that networks change, by groups: "OUTxIN" or "OUTxINxKxK" = how many.',
        "# Written by scripts/record_layers.py from the recorded headers of the real classes; not edited by hand.",
        "# `original` is the layout in sd-scripts and musubi-tuner, `diffusers` that in SimpleTuner; the layers of a U-Net are the same in both. `blocks`: [how many, parameters in each].",
        "",
    ]
    return "\n".join([*head, *(line for name, spec in MODELS.items() for line in table(name, spec)), *parts()])


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
