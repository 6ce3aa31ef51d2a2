"""Detects ControlNets, embeddings, and other files that Easel only names for the user."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core.errors import DetectionError
from trainer_core.files import read_toml
from trainer_core.models.detection import bases
from trainer_core.models.detection.result import Detection
from trainer_core.models.header import Header
from trainer_core.text import printable

# Source: ComfyUI comfy/controlnet.py, load_controlnet; diffusers models/controlnets; sd-scripts control_net_lllite.py.
CONTROLNETS: Mapping[str, str] = {
    "control_model.input_hint_block.0.weight": "ControlNet, LDM layout",
    "input_hint_block.0.weight": "ControlNet, LDM layout",
    "controlnet_cond_embedding.conv_in.weight": "ControlNet, diffusers layout",
    "controlnet_blocks.0.weight": "ControlNet for a transformer",
    "control_layers.0.before_proj.weight": "ControlNet for Z-Image",
    "control_all_x_embedder.2-1.weight": "ControlNet for Z-Image",
    "lllite_conditioning1.conv1.weight": "ControlNet-LLLite",
    "lora_controlnet": "Control-LoRA",
}
# Source: sd-scripts networks/control_net_lllite.py, and control_net_lllite_anima.py of its later versions.
LLLITE = re.compile(r"lllite_(?:unet|dit)_(?P<module>.+?)\.")
COPIED = re.compile(r"control_(?=(?:layers|noise_refiner)\.)")
"""The start of the blocks that a ControlNet for Z-Image copies from its model. Source: diffusers controlnet_z_image.py."""
WIDTHS: Mapping[int, tuple[str, str]] = {
    768: ("sd15", "FLUX.1 and SD3 use vectors of the same width"),
    1024: ("sd2", ""),
}
"""The family that uses vectors of this width, and a note on others. Source: ComfyUI comfy/sd1_clip.py, load_embed."""
SDXL_WORDS = {"clip_l": 768, "clip_g": 1280}
T5_WORDS = ("t5xxl", "t5")
OLD_WORDS = {"text_encoders_0": "clip_l", "text_encoders_1": "clip_g"}
"""Source: diffusers examples/advanced_diffusion_training, TokenEmbeddingsHandler: its names for SDXL's and FLUX's encoders."""
TOKENS = "string_to_token"
"""The key prefix of the token numbers. Source: the original textual_inversion, ldm/modules/embedding_manager.py."""
MOST_WORDS = 64


def controlnet(header: Header) -> Detection | None:
    """The ControlNet with this header; None for anything else."""
    if header.is_folder:
        return None
    kind = next((kind for key, kind in CONTROLNETS.items() if key in header.tensors), "")
    if not kind and any(map(LLLITE.match, header.tensors)):
        kind = "ControlNet-LLLite"
    if not kind:
        return None
    base, reasons = bases.base_of(list(_layers(header)), header.metadata)
    return Detection(None, "controlnet", evidence=(f"is a {kind}", *reasons), base_family=base)


def _layers(header: Header) -> Iterator[bases.Layer]:
    """The layers that a ControlNet copies from its model. A Control-LoRA stores them as two low-rank matrices."""
    tensors = header.tensors
    for key, info in tensors.items():
        if found := LLLITE.match(key):
            yield bases.layer(f"lora_unet_{found['module']}", None, None)
        elif key.startswith("lllite_"):
            continue
        elif key.endswith(".weight") and len(info.shape) > 1:
            module = COPIED.sub("", key.removeprefix("control_model.").removesuffix(".weight"))
            yield bases.layer(module, info.shape[1], info.shape[0])
        elif key.endswith(".down") and key[:-4] + "up" in tensors:
            down, up = info.shape, tensors[key[:-4] + "up"].shape
            if len(down) > 1 and up:
                yield bases.layer(key[:-5], down[1], up[0])


def embedding(header: Header) -> Detection | None:
    """The embedding (textual inversion) with this header; None for anything else."""
    words = _words(header)
    if not words:
        return None
    counts = {shape[0] if len(shape) > 1 else 1 for shape in words.values()}
    widths = {name: shape[-1] for name, shape in words.items()}
    base, reason = _base_of_words(widths)
    shown = " and ".join(str(width) for width in sorted(set(widths.values())))
    count = max(counts)
    evidence = (f"is {count} vector{'s' if count != 1 else ''} of width {shown}", reason)
    return Detection(None, "embedding", evidence=tuple(filter(None, evidence)), base_family=base)


def _words(header: Header) -> dict[str, tuple[int, ...]]:
    """The sizes of the vectors in an embedding file, by name; empty when it contains anything else."""
    if header.is_folder or len(header.tensors) > MOST_WORDS:
        return {}
    shapes = {OLD_WORDS.get(key, key): info.shape for key, info in header.tensors.items() if not key.startswith(TOKENS)}
    if shapes and all(
        1 <= len(shape) <= 2 and shape[-1] in (*WIDTHS, *SDXL_WORDS.values(), 4096) for shape in shapes.values()
    ):
        # Source: AUTOMATIC1111 textual_inversion.py: string_to_param of a pickle; emb_params; diffusers: the token itself.
        known = {
            key for key in shapes if key in ("emb_params", *SDXL_WORDS, *T5_WORDS) or key.startswith("string_to_param")
        }
        tokens = {key for key in shapes if key.startswith("<") and key.endswith(">")}
        if len(known | tokens) == len(shapes) or (
            len(shapes) == 1 and "." not in next(iter(shapes)) and _is_word(shapes)
        ):
            return shapes
    return {}


def _is_word(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether the only tensor of a file may be an embedding: its name is not that of a weight."""
    name, shape = next(iter(shapes.items()))
    return name not in ("weight", "bias", "scale", "alpha") and (len(shape) == 1 or shape[0] <= MOST_WORDS)


def _base_of_words(widths: Mapping[str, int]) -> tuple[str | None, str]:
    if set(widths).intersection(T5_WORDS):
        if "clip_g" in widths:
            return "sd3", "has vectors for CLIP-G and T5: made for Stable Diffusion 3"
        return "flux", "has vectors for T5 and none for CLIP-G: made for FLUX.1"
    if all(widths.get(name) == width for name, width in SDXL_WORDS.items()):
        return "sdxl", "has vectors for both text encoders of SDXL"
    if set(widths) & set(SDXL_WORDS):
        name = next(iter(widths))
        return None, f"has vectors only for {printable(name, 40)}: SDXL, SD3 or FLUX.1, and nothing shows which"
    found = WIDTHS.get(next(iter(widths.values()))) if len(set(widths.values())) == 1 else None
    if found is None:
        return None, "no known family uses vectors of only that width"
    family, others = found
    return family, f"{next(iter(widths.values()))} is the width of {family}'s words{f'; {others}' if others else ''}"


@dataclass(frozen=True)
class Other:
    """One table of others.toml."""

    title: str
    starts: tuple[str, ...] = ()
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    proved: str = ""

    def fits(self, names: str) -> bool:
        """Whether the keys of a file, each after a line break, are those of this kind."""
        has_all = all(f"\n{start}" in names for start in self.starts) and all(text in names for text in self.has)
        return has_all and not any(text in names for text in self.lacks)


def named(header: Header) -> Detection | None:
    """A file that cannot be a base for training, with its name in the evidence; None when it is unknown."""
    if header.is_folder:
        return None
    names = "\n" + "\n".join(header.tensors)
    for other in load():
        if other.fits(names):
            return Detection(None, "unknown", evidence=(f"it is {other.title}: it cannot be used for training",))
    return None


@functools.cache
def load() -> tuple[Other, ...]:
    """The tables of others.toml.

    Raises:
        DetectionError: the file cannot be used.
    """
    path = Path(__file__).with_name("others.toml")
    tables = read_toml(path, DetectionError, "Install Easel again.")
    try:
        return tuple(_other(table) for table in tables.values())
    except (TypeError, ValueError) as error:
        raise DetectionError(f"{path.name} cannot be used: {error}", "Install Easel again.") from error


def _other(table: Mapping[str, Any]) -> Other:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return Other(**values)
