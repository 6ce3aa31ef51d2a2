"""Whether other programs load a network: ComfyUI and diffusers, by recorded names. Not: running them, or changing a file.

A network is loaded layer by layer: a program needs a layer of that name, and must know the parts in which the layer's change is
stored. loaders.json has the names for each family that Easel trains. For another family or an unknown kind of network the
answer is "not known".
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from trainer_core.models.detection import layouts
from trainer_core.models.detection.layouts import DORA
from trainer_core.models.header import Header
from trainer_core.models.loaders import table
from trainer_core.models.loaders.table import Place
from trainer_core.text import printable

Loads = Literal["yes", "partly", "no", "not known"]
COMFYUI, DIFFUSERS = "ComfyUI", "diffusers"
PROGRAMS = (COMFYUI, DIFFUSERS)

# The key endings that ComfyUI reads, by layout. Source: comfy/weight_adapter/*.py, load; comfy/lora.py, load_lora.
_EVERYWHERE = (".alpha", ".dora_scale")
COMFYUI_ENDINGS: Mapping[str, tuple[str, ...]] = {
    "lora": (
        ".lora_up.weight", ".lora_down.weight", ".lora_mid.weight", ".lora_A.weight", ".lora_B.weight", "_lora.up.weight",
        "_lora.down.weight", ".lora.up.weight", ".lora.down.weight", ".lora_linear_layer.up.weight",
        ".lora_linear_layer.down.weight", ".reshape_weight",
    ),
    "loha": (".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_w2_b", ".hada_t1", ".hada_t2"),
    "lokr": (".lokr_w1", ".lokr_w2", ".lokr_w1_a", ".lokr_w1_b", ".lokr_w2_a", ".lokr_w2_b", ".lokr_t2"),
    "glora": (".a1.weight", ".a2.weight", ".b1.weight", ".b2.weight"),
    "oft": (".oft_blocks", ".rescale"),
    "boft": (".oft_blocks", ".rescale"),
    "full": (".diff", ".diff_b", ".set_weight"),
    "norm": (".w_norm", ".b_norm"),
}  # fmt: skip
ENDINGS: Mapping[str, str] = {
    "u": "lora_up and lora_down, with alpha",
    "v": "lora_up and lora_down, without alpha",
    "U": "lora_up and lora_down, with alpha in both places",
    "a": "lora_A and lora_B, without alpha",
    "A": "lora_A and lora_B, with alpha",
    "m": "lora_A and lora_B, with alpha in the metadata",
    "M": "lora_A and lora_B, with alpha in both places",
}
"""The forms of a LoRA's tensors with which diffusers was tried; the codes are those in loaders.json."""
PEFT = "lora_adapter_metadata"
"""The metadata key with rank and alpha. Source: diffusers loaders/lora_base.py, LORA_ADAPTER_METADATA_KEY."""
NAMED = 2


@dataclass(frozen=True)
class Answer:
    """Whether a program loads a network: the answer, the reason as a sentence, and how many layers it loads of how many.

    `source` is the version of the program whose names were recorded.
    """

    program: str
    loads: Loads
    reason: str = ""
    layers: int = 0
    of: int = 0
    source: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The answer as JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Module:
    """One changed layer of a file: its name, layout, the keys of its parts, and what its name means in the family."""

    name: str
    layout: str
    keys: Mapping[str, str]
    place: Place | None


def judge(header: Header, family: str) -> list[Answer]:
    """The answer of each program for a network of a family."""
    if family not in table.families():
        title = printable(family, 40) or "an unknown family"
        return [Answer(program, "not known", f"Easel has no recorded layer names of {title}.") for program in PROGRAMS]
    found = modules(header, family)
    if not found:
        reason = "Easel does not know how this network is stored."
        return [Answer(program, "not known", reason) for program in PROGRAMS]
    answers = (_comfyui(found, header), _diffusers(found, header, family))
    return [_recorded(answer, family) for answer in answers]


def _recorded(answer: Answer, family: str) -> Answer:
    """The answer with the version of the program that was recorded; "not known" if it was recorded for other families only."""
    program = answer.program.lower()
    if not table.is_recorded(program, family):
        return Answer(
            answer.program, "not known", f"Easel has not recorded which names {answer.program} knows of this model."
        )
    return replace(answer, source=table.source(program, family))


@functools.cache
def configs() -> Mapping[str, list[Mapping[str, Any]]]:
    """By family, for each variant: the pipeline of diffusers, and the configuration of each component that a network can change."""
    return json.loads(Path(__file__).with_name("configs.json").read_text("utf-8"))


def modules(header: Header, family: str) -> list[Module]:
    """The changed layers of a file, in its order."""
    places = table.places(family)
    found = []
    for name, parts in layouts.modules(header.tensors).items():
        sizes = {key: len(header.tensors[key].shape) for key in parts.values()}
        layout = layouts.layout_of(parts, sizes) or (DORA if DORA in parts else "")
        if layout:
            found.append(Module(name, layout, parts, places.get(name)))
    return found


def scales(header: Header) -> tuple[float | None, bool]:
    """Alpha divided by the rank as PEFT's metadata states it, None without it, and whether it is the same for all layers."""
    try:
        stated = json.loads(header.metadata.get(PEFT, "null"))
    except (ValueError, RecursionError):
        return None, False
    if not isinstance(stated, dict):
        return None, True
    alpha = {value for key, value in stated.items() if key.rpartition(".")[2] == "lora_alpha"}
    rank = {value for key, value in stated.items() if key.rpartition(".")[2] == "r"}
    patterns = any(value for key, value in stated.items() if key.endswith(("alpha_pattern", "rank_pattern")))
    rooted = any(value is True for key, value in stated.items() if key.endswith("use_rslora"))
    numbers = [each for each in (*alpha, *rank) if isinstance(each, int | float) and not isinstance(each, bool)]
    if (
        len(alpha) != 1
        or len(rank) != 1
        or len(numbers) != 2
        or not all(map(math.isfinite, numbers))
        or numbers[1] <= 0
    ):
        return None, False
    scale = numbers[0] / (math.sqrt(numbers[1]) if rooted else numbers[1])
    return scale, not patterns


def _comfyui(found: list[Module], header: Header) -> Answer:
    known = [module for module in found if module.layout in COMFYUI_ENDINGS or module.layout == DORA]
    if not known:
        title = layouts.LAYOUTS[found[0].layout].title
        return _answer(COMFYUI, "no", f"ComfyUI has no {title}.", 0, len(found))
    named = [module for module in known if module.place and module.place.in_comfyui]
    whole = [module for module in named if all(_is_read(module, key) for key in module.keys.values())]
    scale, is_same = scales(header)
    without_alpha = [module for module in whole if module.layout == "lora" and "alpha" not in module.keys]
    if without_alpha and (not is_same or (scale is not None and not math.isclose(scale, 1.0))):
        times = f"{scale:g} times" if scale is not None and is_same else "with another strength than"
        reason = f"ComfyUI does not read alpha in the metadata: it would apply the network fully instead of {times}."
        if scale is None or not is_same:
            reason = "ComfyUI does not read alpha in the metadata, so it would apply the network with another strength."
        return _answer(COMFYUI, "partly", reason, len(whole), len(found))
    return _counted(COMFYUI, found, named, whole, "does not read all parts of")


def _is_read(module: Module, key: str) -> bool:
    ending = key[len(module.name) :]
    return ending in (*COMFYUI_ENDINGS.get(module.layout, ()), *_EVERYWHERE)


def _diffusers(found: list[Module], header: Header, family: str) -> Answer:
    if pipeline := table.has_no_loader(family):
        return _answer(DIFFUSERS, "no", f"{pipeline} of diffusers cannot load networks.", 0, len(found))
    others = [module for module in found if module.layout != "lora" or "lora_mid" in module.keys]
    if others:
        title = layouts.LAYOUTS[others[0].layout].title if others[0].layout in layouts.LAYOUTS else "DoRA"
        what = f"a {title}" if others[0].layout != "lora" else "a LoRA with Tucker decomposition"
        return _answer(
            DIFFUSERS, "no", f"diffusers loads only LoRAs for this family, and this is {what}.", 0, len(found)
        )
    unknown = [module for module in found if module.place and not _is_recorded(module.place)]
    if unknown:
        reason = f"Easel has no record of the text encoder's layers in diffusers ({_shown(unknown)})."
        return _answer(DIFFUSERS, "not known", reason, 0, len(found))
    named = [module for module in found if module.place and module.place.in_diffusers]
    code = {module.name: _ending(module, header) for module in found}
    if set(code.values()) & {"U", "M"}:
        # Source: diffusers loaders/peft.py, load_lora_adapter: "Both `network_alphas` and `metadata` cannot be specified."
        reason = f"diffusers refuses a file that states alpha twice, in tensors and in the metadata ({PEFT})."
        return _answer(DIFFUSERS, "no", reason, 0, len(found))
    whole = [module for module in named if module.place and code[module.name] in module.place.in_diffusers]
    if len(whole) == len(found) and any(DORA in module.keys for module in found):
        # Source: diffusers loaders/lora_pipeline.py, is_dora_scale_present: it leaves the keys with dora_scale out.
        if any(module.keys.get(DORA, "").endswith(".dora_scale") for module in found):
            reason = "diffusers leaves the magnitudes of a DoRA out, so it would apply another network."
            return _answer(DIFFUSERS, "partly", reason, 0, len(found))
        return _answer(DIFFUSERS, "not known", "Easel has no record of a DoRA in this form.", 0, len(found))
    return _counted(DIFFUSERS, found, named, whole, "does not load the alpha or the endings of")


def _is_recorded(place: Place) -> bool:
    """Whether diffusers was tried with the naming of a place: text encoders that it never loads were not."""
    return place.naming in (*table.DENOISER, "clip_l", "clip_g")


def _ending(module: Module, header: Header) -> str:
    """The code of the endings of a LoRA's layer, and where its alpha is; "" for other endings."""
    ends = {module.keys[part][len(module.name) :] for part in ("up", "down") if part in module.keys}
    has_alpha, is_stated = "alpha" in module.keys, PEFT in header.metadata
    if is_stated and not has_alpha and not _is_prefixed(header):
        # Source: diffusers loaders/peft.py, load_lora_adapter: without its prefix nothing of the metadata is left, not even the rank.
        return ""
    if ends == {".lora_up.weight", ".lora_down.weight"}:
        return {(True, False): "u", (True, True): "U", (False, False): "v"}.get((has_alpha, is_stated), "")
    if ends == {".lora_A.weight", ".lora_B.weight"}:
        return {(False, False): "a", (True, False): "A", (False, True): "m", (True, True): "M"}[has_alpha, is_stated]
    return ""


def _is_prefixed(header: Header) -> bool:
    """Whether the keys in PEFT's metadata start with the component, as diffusers writes them."""
    return '"unet.' in header.metadata[PEFT] or '"transformer.' in header.metadata[PEFT]


def _counted(program: str, found: list[Module], named: list[Module], whole: list[Module], lacking: str) -> Answer:
    """The answer by how many layers a program finds and reads whole."""
    if len(whole) == len(found):
        return _answer(program, "yes", "", len(whole), len(found))
    good = {module.name for module in named}
    foreign = [module for module in found if module.name not in good]
    read = {module.name for module in whole}
    partial = [module for module in named if module.name not in read]
    reasons = []
    if foreign:
        reasons.append(f"{program} has no layers with {len(foreign)} of {len(found)} names ({_shown(foreign)}).")
    if partial:
        reasons.append(f"{program} {lacking} {len(partial)} of {len(found)} layers ({_shown(partial)}).")
    return _answer(program, "partly" if whole else "no", " ".join(reasons), len(whole), len(found))


def _shown(modules: Iterable[Module]) -> str:
    names = [printable(module.name, 120) for module in modules]
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _answer(program: str, loads: Loads, reason: str, layers: int, of: int) -> Answer:
    return Answer(program, loads, reason, layers, of)
