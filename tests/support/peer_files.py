"""Headers of LoRAs as other trainers write them: the layers of each model, under the names of each writer.

Run it to see what is recognised: .venv/bin/python -m tests.support.peer_files
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.support import peer_layouts, recorded_headers, recorded_models
from tests.support.peer_layouts import Layers
from tests.support.recorded_roles import made
from trainer_core.models.detection import Detection, bases, detect
from trainer_core.models.families import Denoiser
from trainer_core.models.header import Header, TensorInfo

RANK = 16
_BLOCK = re.compile(r"(.*?)\.(\d+)\.")
Shapes = Mapping[str, tuple[int, ...]]
Name = Callable[[str], str]


def _flat(prefix: str) -> Name:
    return lambda module: prefix + module.replace(".", "_")


def _lora(ends: tuple[str, str], *others: str) -> Callable[[str, int, int], Shapes]:
    def parts(key: str, inputs: int, outputs: int) -> Shapes:
        shapes = {key + ends[0]: (RANK, inputs), key + ends[1]: (outputs, RANK)}
        return shapes | {key + other: (outputs,) if "magnitude" in other else () for other in others}

    return parts


def _lokr(key: str, inputs: int, outputs: int) -> Shapes:
    first = tuple(next(factor for factor in (8, 4, 2, 1) if size % factor == 0) for size in (outputs, inputs))
    return {f"{key}.lokr_w1": first, f"{key}.lokr_w2": (outputs // first[0], inputs // first[1]), f"{key}.alpha": ()}


def _oft_diag(key: str, _inputs: int, outputs: int) -> Shapes:
    return {f"{key}.oft_diag": (outputs // 8, 8, 8), f"{key}.alpha": ()}


def _oft(key: str, inputs: int, _outputs: int) -> Shapes:
    return {f"{key}.oft_R.weight": (inputs // 32, 496), f"{key}.oft_R.scaled_oft": ()}


DOWN = (".lora_down.weight", ".lora_up.weight")
AB = (".lora_A.weight", ".lora_B.weight")


@dataclass(frozen=True)
class Writer:
    """How a program names the layers of a LoRA, and the parts that it stores of each. `source` is where that is read."""

    source: str
    name: Name
    parts: Callable[[str, int, int], Shapes]
    kind: str = "lora"


WRITERS: Mapping[str, Writer] = {
    "kohya": Writer("sd-scripts and musubi-tuner networks/lora.py", _flat("lora_unet_"), _lora(DOWN, ".alpha")),
    "ai-toolkit": Writer("ai-toolkit toolkit/network_mixins.py, get_state_dict", "diffusion_model.{}".format, _lora(AB)),
    "ai-toolkit-dora": Writer("ai-toolkit toolkit/models/DoRA.py", "diffusion_model.{}".format, _lora(AB, ".magnitude"), "dora"),
    "ai-toolkit-lokr": Writer("ai-toolkit toolkit/network_mixins.py", "diffusion_model.{}".format, _lokr, "lokr"),
    "diffusers": Writer("diffusers loaders/lora_pipeline.py, save_lora_weights", "transformer.{}".format, _lora(AB)),
    "peft": Writer("PEFT utils/save_and_load.py, with an adapter named style", "base_model.model.{}".format,
        _lora((".lora_A.style.weight", ".lora_B.style.weight"))),
    "peft-dora": Writer("PEFT tuners/lora/dora.py, with an adapter named style", "base_model.model.{}".format,
        _lora((".lora_A.style.weight", ".lora_B.style.weight"), ".lora_magnitude_vector.style.weight"), "dora"),
    "onetrainer": Writer("OneTrainer modules/util/convert_lora_util.py, convert_to_mixture", _flat("lora_transformer_"), _lora(DOWN, ".alpha")),
    "onetrainer-comfy": Writer("OneTrainer convert_lora_util.py, lora_original_conversion", "diffusion_model.{}".format, _lora(AB, ".alpha")),
    "onetrainer-oft": Writer("OneTrainer modules/module/oft_utils.py", "transformer.{}".format, _oft, "oft"),
    "simpletuner": Writer("SimpleTuner lora_format=comfyui", "diffusion_model.{}".format, _lora(AB, ".alpha")),
    "simpletuner-lokr": Writer("SimpleTuner helpers/training/lycoris.py; LyCORIS wrapper.py", _flat("lycoris_"), _lokr, "lokr"),
    "lycoris-oft": Writer("LyCORIS before 2.0, DiagOFTModule", _flat("lora_unet_"), _oft_diag, "oft"),
    "comfyui": Writer("ComfyUI comfy/lora.py, model_lora_keys_unet: names without a prefix", str, _lora(AB)),
}  # fmt: skip

SELECTIONS: Mapping[str, re.Pattern[str]] = {
    "blocks": re.compile(r"\.\d+\."),
    "attention": re.compile(r"\.\d+\..*(?:att|qkv|to_[qkv]\b|\.proj\.[qkvo]$)"),
    "ffn": re.compile(r"\.\d+\..*(?:ff|mlp|feed_forward)"),
}
"""Which layers are trained: those of the blocks, their attention, or their feed-forward networks."""
UNETS = ("sd15", "sd2", "sdxl", "kolors", "dreamlite", "kandinsky3", "stable_video")
"""Families whose diffusers files have the prefix "unet."."""
# Which writers train each selection, so that every writer and every layout is in the table without all their products.
TRAINED: Mapping[str, tuple[str, ...]] = {
    "blocks": ("kohya", "diffusers", "ai-toolkit"),
    "attention": ("peft", "simpletuner-lokr", "onetrainer"),
    "ffn": ("kohya", "comfyui"),
}
FEW: Mapping[str, tuple[str, ...]] = {
    "blocks": (
        "ai-toolkit-dora",
        "ai-toolkit-lokr",
        "onetrainer-comfy",
        "onetrainer-oft",
        "simpletuner",
        "lycoris-oft",
        "peft-dora",
    ),
}
"""The other writers, on the layouts of `POPULAR` alone."""
POPULAR = (
    "flux-dev",
    "folder-flux-dev",
    "folder-qwen-image",
    "folder-z-image",
    "krea2",
    "wan-14b",
    "folder-sd35-large",
    "flux2-klein-9b",
)


@dataclass(frozen=True)
class Case:
    """One LoRA: what was trained, by which program, and which family it is for."""

    layout: str
    writer: str
    selection: str

    @property
    def name(self) -> str:
        """Its name in the table."""
        return f"{self.layout}-{self.writer}-{self.selection}"

    @property
    def family(self) -> str:
        """The family that it is for."""
        row = peer_layouts.ROWS.get(self.layout)
        return row[0] if row else recorded_models.facts(self.layout)[0]

    def header(self, **metadata: str) -> Header:
        """Its header."""
        writer = WRITERS[self.writer]
        tensors: dict[str, TensorInfo] = {}
        for module, (inputs, outputs) in _some_blocks(self.layout).items():
            if SELECTIONS[self.selection].search(f".{module}"):
                key = writer.name(module)
                if self.family in UNETS and key.startswith("transformer."):
                    key = key.replace("transformer.", "unet.", 1)
                tensors |= {
                    name: TensorInfo("BF16", shape) for name, shape in writer.parts(key, inputs, outputs).items()
                }
        return made(tensors, **metadata)


@functools.cache
def _some_blocks(layout: str) -> Layers:
    """The layers of the first two blocks of each kind and of the last, whose number counts, and those outside of blocks."""
    numbers = {module: _BLOCK.match(module) for module in layers(layout)}
    last: Counter[str] = Counter()
    for found in filter(None, numbers.values()):
        last[found[1]] = max(last[found[1]], int(found[2]))
    kept = {module for module, found in numbers.items() if found is None or int(found[2]) in (0, 1, last[found[1]])}
    return {module: sizes for module, sizes in layers(layout).items() if module in kept}


def layers(layout: str) -> Layers:
    """The layers of a layout: those of a row, or the linear layers of a recorded model."""
    return peer_layouts.layers(layout) if layout in peer_layouts.ROWS else _recorded(layout)


@functools.cache
def found_in(case: Case, **metadata: str) -> Detection:
    """What is detected in the header of a case."""
    return detect(case.header(**metadata))


@functools.cache
def _recorded(name: str) -> Layers:
    header = recorded_headers.recorded(name)
    prefix = Denoiser.of(header).prefix
    return {
        key.removeprefix(prefix).removesuffix(".weight"): (info.shape[1], info.shape[0])
        for key, info in header.tensors.items()
        if key.startswith(prefix) and key.endswith(".weight") and len(info.shape) == 2
    }


def cases() -> Iterator[Case]:
    """Every LoRA of the table that changes at least one layer."""
    recorded = [name for name in recorded_models.names() if recorded_models.bare(name)]
    for layout in (*recorded, *peer_layouts.ROWS):
        for selection, writers in TRAINED.items():
            if any(SELECTIONS[selection].search(f".{module}") for module in layers(layout)):
                yield from (Case(layout, writer, selection) for writer in writers)
        if layout in POPULAR:
            yield from (Case(layout, writer, selection) for selection, writers in FEW.items() for writer in writers)


def outcome(case: Case, found: Detection) -> str:
    """ "right", "undecided" (no family), "usual" (a family trained more often, which names this one too), or "wrong"."""
    if found.base_family == case.family:
        return "right"
    if found.base_family is None:
        return "undecided"
    alike = " ".join(found.evidence).partition("a rarely trained family with the same layers: ")[2]
    return "usual" if bases.load()[case.family].title in alike else "wrong"


CASES = tuple(cases())

if __name__ == "__main__":
    found = [(case, outcome(case, detect(case.header()))) for case in CASES]
    print(len(found), Counter(kind for _, kind in found))
    for kind in ("wrong", "undecided", "usual"):
        print(kind, *(case.name for case, each in found if each == kind), sep="\n    ")
