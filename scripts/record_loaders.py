"""Records which layer names ComfyUI and diffusers accept in a network, in trainer_core/models/loaders/loaders.json.

Run it with an engine's Python that has torch, diffusers and PEFT. Nothing is downloaded, and no model is needed:

    workspace/engines/simpletuner/venv/bin/python scripts/record_loaders.py comfyui <folder of a ComfyUI checkout> [family ...]
    workspace/engines/simpletuner/venv/bin/python scripts/record_loaders.py diffusers [family ...]

The models are built without weights from the recorded headers and configurations in tests/data/headers. ComfyUI's own
`model_lora_keys_unet` and `model_lora_keys_clip` say which names they have a layer for. diffusers' own `load_lora_weights` gets
files with those names; a layer counts as loaded if its matrix arrives at a layer of the model, with the right scale.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.header_folding import fold, unfold
from scripts.loader_names import (
    ALSO,
    COMFYUI_LAYERS,
    ENCODERS,
    FAMILIES,
    LORA_MIXINS,
    OTHER_MODELS,
    TEXT_CONFIGS,
    VARIANT_FOLDERS,
    VARIANTS,
    component,
    encoder,
    in_diffusers,
    layers,
    originals,
    recorded,
    sizes,
)

TARGET = ROOT / "trainer_core" / "models" / "loaders" / "loaders.json"
MODELS = ROOT / "trainer_core" / "models" / "loaders" / "configs.json"
RANK, ALPHA = 4, 2.0
# A form of names: the prefix, and whether dots become underscores. "@" is the component's own prefix, unet. or transformer.
FORMS = {
    "k": ("lora_unet_", True),
    "l": ("lycoris_", True),
    "t": ("lora_transformer_", True),
    "p": ("@", False),
    "c": ("diffusion_model.", False),
    "b": ("base_model.model.", False),
    "n": ("", False),
}
TEXT_FORMS = {
    "k": ("lora_te_", True),
    "1": ("lora_te1_", True),
    "2": ("lora_te2_", True),
    "3": ("lora_te3_", True),
    "p": ("text_encoder.", False),
    "q": ("text_encoder_2.", False),
    "r": ("text_encoder_3.", False),
}
# Endings of the names: up and down, and whether alpha is in a tensor ("t"), in PEFT's metadata ("m") or nowhere ("").
ENDINGS = {
    "u": (".lora_up.weight", ".lora_down.weight", "t"),
    "v": (".lora_up.weight", ".lora_down.weight", ""),
    "U": (".lora_up.weight", ".lora_down.weight", "tm"),
    "a": (".lora_B.weight", ".lora_A.weight", ""),
    "A": (".lora_B.weight", ".lora_A.weight", "t"),
    "m": (".lora_B.weight", ".lora_A.weight", "m"),
    "M": (".lora_B.weight", ".lora_A.weight", "tm"),
}


def named(prefix: str, is_flat: bool, layer: str) -> str:
    """The name of a layer in a file."""
    return prefix + (layer.replace(".", "_") if is_flat else layer)


# ComfyUI


def comfyui(source: Path, *families: str) -> None:
    """Records the names that ComfyUI accepts in these families, or in all."""
    sys.path.insert(0, str(source))
    importlib.import_module("comfy.options").enable_args_parsing()
    sys.argv = [sys.argv[0], "--cpu"]
    lora = importlib.import_module("comfy.lora")
    table = read()
    for family in families or FAMILIES:
        model = comfy_model(FAMILIES[family][0] or FAMILIES[family][1])
        keys = set(lora.model_lora_keys_unet(model, {}))
        for header in VARIANTS.get(family, ()):
            keys |= set(lora.model_lora_keys_unet(comfy_model(header), {}))
        forms = {code: (prefix.replace("@", f"{component(family)}."), flat) for code, (prefix, flat) in FORMS.items()}
        for naming, found in (("original", originals(family)), ("diffusers", in_diffusers(family))):
            codes = accepted(found, forms, keys)
            if naming == "original" and family in COMFYUI_LAYERS:
                codes = {
                    layer: code + ("o" if own_name(family, layer) in keys else "") for layer, code in codes.items()
                }
            note(table, family, naming, "comfyui", codes)
        for place, (_, header) in ENCODERS.get(family, {}).items():
            texts = {
                f"{kind}.transformer.{layer}.weight"
                for kind, (_, name) in ENCODERS[family].items()
                for layer in encoder(name, kind)
            }
            text_keys = set(lora.model_lora_keys_clip(Stated(texts), {}))
            text_forms = {**TEXT_FORMS, "c": (f"text_encoders.{place}.transformer.", False)}
            own = only_of(encoder(header, place), place, lora, family)
            note(
                table,
                family,
                place,
                "comfyui",
                accepted(encoder(header, place), text_forms, text_keys & own),
            )
        table.setdefault("sources", {}).setdefault(family, {})["comfyui"] = f"comfy/lora.py of {version_of(source)}"
        print(family, type(model).__name__, len(keys))
    write(table)


def own_name(family: str, layer: str) -> str:
    """The name of a layer in the form "o": ComfyUI's own name of it, with the prefix of sd-scripts."""
    for old, new in COMFYUI_LAYERS[family]:
        layer = layer.replace(old, new)
    return named("lora_unet_", True, layer)


def only_of(found: Mapping[str, Any], place: str, lora: Any, family: str) -> set[str]:
    """The names that ComfyUI maps to one text encoder of a family."""
    every = {
        f"{kind}.transformer.{layer}.weight"
        for kind, (_, name) in ENCODERS[family].items()
        for layer in encoder(name, kind)
    }
    keys = lora.model_lora_keys_clip(Stated(every), {})
    return {
        key
        for key, target in keys.items()
        if target.startswith(f"{place}.transformer.") and target[len(place) + 13 : -7] in found
    }


def comfy_model(header: str) -> Any:
    """ComfyUI's own model with the tensors of a recorded header, without weights."""
    torch = importlib.import_module("torch")
    detection = importlib.import_module("comfy.model_detection")
    tensors = recorded(header)["tensors"]
    shapes = sizes(tensors, "transformer/") or sizes(tensors)
    # The two ways in which ComfyUI opens a file: as a checkpoint, or as a diffusion model with or without a prefix.
    known = detection.unet_prefix_from_state_dict(dict.fromkeys(shapes))
    prefix = known if any(key.startswith(known) for key in shapes) else ""
    state = {key: torch.empty(shape, dtype=torch.float16, device="meta") for key, shape in shapes.items()}
    for key in state:
        # Read by value: the table of timesteps of SD2 (comfy/supported_models.py, SD20.model_type).
        if key.endswith("output_blocks.11.1.transformer_blocks.0.norm1.bias"):
            state[key] = torch.zeros(shapes[key])
    config = detection.model_config_from_unet(state, prefix)
    if config is None and (renamed := detection.convert_diffusers_mmdit(state, "")):
        state, prefix = renamed, ""
        config = detection.model_config_from_unet(state, prefix)
    assert config is not None, f"ComfyUI does not know {header}"
    config.set_inference_dtype(torch.float16, None)
    return config.get_model(state, prefix, device="meta")


class Stated:
    """A model that is known only by the names of its weights, which is all that model_lora_keys_clip asks for."""

    def __init__(self, names: set[str]) -> None:
        self._names = dict.fromkeys(sorted(names))

    def state_dict(self) -> Mapping[str, Any]:
        return self._names


def accepted(found: Mapping[str, Any], forms: Mapping[str, tuple[str, bool]], keys: set[str]) -> dict[str, str]:
    """The codes of the forms in which each layer is accepted."""
    return {layer: "".join(code for code, form in forms.items() if named(*form, layer) in keys) for layer in found}


# diffusers


def diffusers(*families: str) -> None:
    """Records the files of these families, or of all, that diffusers loads."""
    table = read()
    program = loader()
    rows = json.loads(MODELS.read_text("utf-8")) if MODELS.is_file() else {}
    for family in families or FAMILIES:
        name = component(family)
        configs = recorded(FAMILIES[family][1])["configs"]
        kind = configs[""]["_class_name"]
        texts = {
            part: (place, header) for place, (part, header) in ENCODERS.get(family, {}).items() if place in TEXT_CONFIGS
        }
        rows[family] = rows_of(family)
        widest = rows[family][0] | {"components": {**rows[family][0]["components"]}}
        widest["components"][name] = {**widest["components"][name], **ALSO.get(family, {})}
        holder = program.model(widest)
        if not hasattr(holder, "load_lora_weights"):
            print(family, kind, "has no loader of networks")
            table.setdefault("without", {})[family] = kind
            rows.pop(family, None)
            continue
        forms = {code: (prefix.replace("@", f"{name}."), flat) for code, (prefix, flat) in FORMS.items()}
        shapes = {key: tuple(value.shape) for key, value in getattr(holder, name).state_dict().items()}
        own = [("original", originals(family), name, forms), ("diffusers", layers(shapes), name, forms)]
        own += [(place, encoder(header, place), part, TEXT_FORMS) for part, (place, header) in texts.items()]
        for naming, found, part, possible in own:
            trained = {layer: shape for layer, shape in found.items() if len(shape) in (2, 4)}
            codes = dict.fromkeys(found, "")
            for form, (prefix, is_flat) in possible.items():
                if naming == "original" and form in "ltb":
                    continue  # no program writes them
                for ending in ENDINGS:
                    arrived = tried(program, holder, trained, prefix, is_flat, ending, part)
                    for layer in arrived:
                        codes[layer] += f"{form}{ending} "
                    if arrived:
                        print(family, naming, form, ending, len(arrived), "of", len(trained), flush=True)
            note(table, family, naming, "diffusers", {layer: code.strip() for layer, code in codes.items()})
        version = f"diffusers {importlib.import_module('diffusers').__version__}, load_lora_weights"
        table.setdefault("sources", {}).setdefault(family, {})["diffusers"] = version
        MODELS.write_text(json.dumps(rows, indent=0) + "\n")
        write(table)
    write(table)


def rows_of(family: str) -> list[dict[str, Any]]:
    """For each variant of a family: the pipeline of diffusers, and the configuration of each component."""
    rows = []
    for folder in (FAMILIES[family][1], *VARIANT_FOLDERS.get(family, ())):
        configs, name = recorded(folder)["configs"], component(family)
        kind = configs[""]["_class_name"]
        denoiser = OTHER_MODELS.get(family) or plain(configs[name])
        texts = {
            part: TEXT_CONFIGS[place] for place, (part, _) in ENCODERS.get(family, {}).items() if place in TEXT_CONFIGS
        }
        rows.append({"pipeline": LORA_MIXINS.get(kind, kind), "components": {name: denoiser, **texts}})
    return rows


def loader() -> Any:
    """The program with which the tool loads a network in an engine's Python."""
    path = ROOT / "trainer_core" / "tools" / "inside" / "load_network.py"
    spec = importlib.util.spec_from_file_location("load_network", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a component without the version that wrote it."""
    return {key: value for key, value in config.items() if key != "_diffusers_version" and value is not None}


def kind_of(layer: str) -> str:
    """The name of a layer with # for its numbers."""
    return re.sub(r"\.\d+(?=\.|$)", ".#", layer)


def tried(
    program: Any, holder: Any, found: Mapping[str, Any], prefix: str, is_flat: bool, ending: str, name: str
) -> set[str]:
    """The layers of a network with these names that diffusers loads with the right scale.

    Two layers of each kind stand for all of that kind: the names of a kind differ only in their numbers. If diffusers refuses them
    together, each kind is tried alone; those that are loaded must then be loaded together. What was loaded in the two usual forms
    is loaded once more with all layers.
    """
    kinds: dict[str, dict[str, Any]] = {}
    for layer, shape in found.items():
        kinds.setdefault(kind_of(layer), {})[layer] = shape
    few = {layer: shape for group in kinds.values() for layer, shape in list(group.items())[:2]}
    given = (prefix, is_flat, ending, name)
    arrived, error = loaded(program, holder, few, *given)
    if error and "Invalid LoRA checkpoint" not in error:
        alone = [group for group in kinds.values() if loaded(program, holder, dict(list(group.items())[:1]), *given)[0]]
        few = {layer: shape for group in alone for layer, shape in list(group.items())[:2]}
        arrived = loaded(program, holder, few, *given)[0] if few else set()
    good = {kind_of(layer) for layer in arrived}
    every = {layer: shape for kind, group in kinds.items() if kind in good for layer, shape in group.items()}
    if every and (prefix, ending) in (
        ("lora_unet_", "u"),
        ("unet.", "a"),
        ("transformer.", "a"),
        ("diffusion_model.", "A"),
    ):
        whole, error = loaded(program, holder, every, *given)
        print("  all layers:", len(whole), "of", len(every), error[:200], flush=True)
        return whole
    return set(every)


def loaded(
    program: Any, holder: Any, found: Mapping[str, Any], prefix: str, is_flat: bool, ending: str, name: str
) -> tuple[set[str], str]:
    """The layers that diffusers loads of one file, and why it refuses the file."""
    torch = importlib.import_module("torch")
    save = importlib.import_module("safetensors.torch").save_file
    up, down, where = ENDINGS[ending]
    state, marks = {}, {}
    # Odd numbers: a layer with the wrong scale, a power of two, is then never mistaken for another one.
    for number, (layer, shape) in zip(range(1, 2 * len(found), 2), found.items(), strict=False):
        key = named(prefix, is_flat, layer)
        marks[float(number)] = layer
        state[key + down] = torch.ones([RANK, *shape[1:]], dtype=torch.float32)
        state[key + up] = torch.full([shape[0], RANK] + [1] * (len(shape) - 2), float(number))
        if "t" in where:
            state[f"{key}.alpha"] = torch.tensor(ALPHA)
    stated = {f"{name}.lora_alpha": ALPHA, f"{name}.r": RANK, f"{name}.target_modules": sorted(found)}
    metadata = {"lora_adapter_metadata": json.dumps(stated)} if "m" in where else {"format": "pt"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.safetensors"
        save(state, path, metadata=metadata)
        report = program.load(holder, path)
    program.remove(holder)
    if report["error"] or report["unexpected"]:
        return set(), report["error"] or "unexpected names"
    right = ALPHA / RANK if where else 1.0
    first = report["first"].get(name, {})
    # Some converters multiply alpha into the matrices, so that the scale is 1: only the product says how strong a layer is.
    strengths = (first[layer] * scale / right for layer, scale in report["loaded"].get(name, {}).items())
    return {marks[strength] for strength in strengths if strength in marks}, ""


# The table


def read() -> dict[str, Any]:
    """The recorded table; a new one if there is none."""
    return json.loads(TARGET.read_text("utf-8")) if TARGET.is_file() else {"source": {}, "families": {}}


def note(table: dict[str, Any], family: str, naming: str, program: str, codes: Mapping[str, str]) -> None:
    """Puts the codes of a program into the table: those of both programs are one text, divided by a line."""
    known = dict(unfold(table["families"].setdefault(family, {}).get(naming, {})))
    rows = {**known}
    for layer, code in codes.items():
        comfy, _, other = known.get(layer, "").partition("|")
        rows[layer] = f"{code}|{other}" if program == "comfyui" else f"{comfy}|{code}"
    if rows:
        table["families"][family][naming] = fold(rows)


def write(table: Mapping[str, Any]) -> None:
    """Writes the table."""
    table = {
        **table,
        "forms": {code: list(form) for code, form in FORMS.items()},
        "comfyui_layers": COMFYUI_LAYERS,
        "text_forms": {code: list(form) for code, form in TEXT_FORMS.items()},
    }
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(table, indent=0) + "\n")
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")


def version_of(source: Path) -> str:
    """The version of a ComfyUI checkout, or the text of its commit; a digest of the file where there is neither."""
    version = source / "comfyui_version.py"
    if version.is_file():
        return "ComfyUI " + version.read_text("utf-8").rpartition('"')[0].rpartition('"')[2]
    import hashlib

    return f"SHA-256 {hashlib.sha256((source / 'comfy' / 'lora.py').read_bytes()).hexdigest()[:12]}"


if __name__ == "__main__":
    kind, *more = sys.argv[1:]
    if kind == "comfyui":
        comfyui(Path(more[0]).resolve(), *more[1:])
    else:
        diffusers(*more)
