"""The recorded layer names that ComfyUI and diffusers accept, from loaders.json; scripts/record_loaders.py writes it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RUN = re.compile(r"(\d+)\.\.(\d+)")
UNET_FAMILIES = ("sd15", "sd2", "sdxl")
"""The families whose denoiser diffusers calls unet; the others have a transformer."""
DENOISER = ("original", "diffusers")
"""The two ways to name the layers of a denoiser: as its original code, and as diffusers."""

OWN = "o"
"""The code of the form with ComfyUI's own names of the layers, of a family whose original code has others."""


@dataclass(frozen=True)
class Form:
    """A form of layer names in a file: the prefix, and whether dots become underscores.

    `renamed` are parts of the layer's name with what stands for them: a program can have other names than the original code.
    """

    code: str
    prefix: str
    is_flat: bool
    renamed: tuple[tuple[str, str], ...] = ()

    def name(self, layer: str) -> str:
        """The name of a layer in this form."""
        for old, new in self.renamed:
            layer = layer.replace(old, new)
        return self.prefix + (layer.replace(".", "_") if self.is_flat else layer)


@dataclass(frozen=True)
class Place:
    """What a name in a file means: the layer in a naming, its form, and who accepts it.

    `in_diffusers` are the codes of the endings with which diffusers loads it: see `models.loaders.ENDINGS`.
    """

    naming: str
    layer: str
    form: Form
    in_comfyui: bool
    in_diffusers: str


@functools.cache
def table() -> Mapping[str, Any]:
    """The recorded table."""
    return json.loads(Path(__file__).with_name("loaders.json").read_text("utf-8"))


def families() -> tuple[str, ...]:
    """The families whose names are recorded."""
    return tuple(table()["families"])


def source(program: str, family: str = "") -> str:
    """The version of a program that was recorded, for a family where it was recorded with another one."""
    own = table().get("sources", {}).get(family, {})
    return str(own.get(program) or table()["source"].get(program, ""))


@functools.lru_cache(maxsize=16)
def is_recorded(program: str, family: str) -> bool:
    """Whether the names that a program accepts in a family were recorded: it accepts at least one, or cannot load any network."""
    if program == "diffusers" and has_no_loader(family):
        return True
    places_in_codes = {"comfyui": 0, "diffusers": 2}
    codes = (code for naming in table()["families"].get(family, {}) for code in layers(family, naming).values())
    return any(code.partition("|")[places_in_codes[program]] for code in codes)


def has_no_loader(family: str) -> str:
    """The pipeline of diffusers that cannot load any network of a family; "" if it can."""
    return str(table().get("without", {}).get(family, ""))


@functools.lru_cache(maxsize=4)
def places(family: str) -> Mapping[str, Place]:
    """Every name that a layer of a family can have in a file. Names that both namings have stand for the accepted one."""
    found: dict[str, Place] = {}
    for naming in table()["families"].get(family, {}):
        for layer, codes in layers(family, naming).items():
            comfyui, _, diffusers = codes.partition("|")
            for form in forms(family, naming):
                name = form.name(layer)
                endings = "".join(code[1:] for code in diffusers.split() if code[0] == form.code)
                place = Place(naming, layer, form, form.code in comfyui, endings)
                if name not in found or (place.in_comfyui, place.in_diffusers) > (
                    found[name].in_comfyui,
                    found[name].in_diffusers,
                ):
                    found[name] = place
    return found


@functools.lru_cache(maxsize=16)
def layers(family: str, naming: str) -> Mapping[str, str]:
    """The layers of a family in a naming, each with the recorded codes; none if they are not recorded."""
    return dict(_unfolded(table()["families"].get(family, {}).get(naming, {})))


@functools.lru_cache(maxsize=64)
def forms(family: str, naming: str) -> tuple[Form, ...]:
    """The forms that the names of a naming can have in a file."""
    if naming in DENOISER:
        own = "unet." if family in UNET_FAMILIES else "transformer."
        usual = (Form(code, prefix.replace("@", own), flat) for code, (prefix, flat) in table()["forms"].items())
        renamed = table().get("comfyui_layers", {}).get(family, ()) if naming == DENOISER[0] else ()
        return (
            *usual,
            *([Form(OWN, "lora_unet_", is_flat=True, renamed=tuple(map(tuple, renamed)))] if renamed else ()),
        )
    dotted = Form("c", f"text_encoders.{naming}.transformer.", is_flat=False)
    return (*(Form(code, prefix, flat) for code, (prefix, flat) in table()["text_forms"].items()), dotted)


def _unfolded(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The names and values of a folded table: "0..27" stands for 28 equal entries."""
    for key, value in node.items():
        run = _RUN.fullmatch(key)
        for name in range(int(run[1]), int(run[2]) + 1) if run else (key,):
            if isinstance(value, dict):
                yield from _unfolded(value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", value
