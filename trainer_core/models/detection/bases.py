"""Finds the family that a LoRA or ControlNet was made for, by the names and sizes of its layers."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core.errors import DetectionError
from trainer_core.files import read_toml
from trainer_core.models.families import load_families
from trainer_core.text import printable

WRITERS: Mapping[str, str] = {
    "lora_transformer_": "OneTrainer", "lora_prior_": "OneTrainer", "lycoris_": "LyCORIS",
    "lora_unet_": "sd-scripts", "oft_unet_": "sd-scripts", "lora_te": "sd-scripts",
    "diffusion_model.": "ai-toolkit or ComfyUI", "text_encoders.": "ai-toolkit or ComfyUI",
    "transformer.": "diffusers", "unet.": "diffusers", "prior.": "diffusers", "text_encoder": "diffusers",
}  # fmt: skip
"""The program that uses each prefix of layer names. Source: ComfyUI comfy/lora.py; InvokeAI model_manager/configs/lora.py."""
PEFT = "base_model.model."
_WRAPPERS = (
    PEFT, "model.diffusion_model.", "diffusion_model.", "transformer.", "transformer_1.", "transformer_2.", "unet.", "prior.", "net.",
)  # fmt: skip
"""The prefixes of dotted names, one after another. Wan 2.2 has two models, "transformer_1." and "transformer_2."."""
_FLAT = ("lora_transformer_", "lora_prior_unet_", "lycoris_", "lora_unet_", "oft_unet_")
# Source: OneTrainer modules/model/*Model.py, lora_text_encoders; ComfyUI comfy/lora.py, model_lora_keys_clip.
_TEXT = re.compile(
    r"(?:lora_(?:prior_)?te([1-4]?_)|text_encoder(?:_([2-4]))?\.|text_encoders\.(\w+)\.transformer\.|(?=text_model\.encoder\.))"
)
_PLACES = {"clip_l": "1", "clip_g": "2", "t5xxl": "3", "llama": "4"}
"""The number of each text encoder that ComfyUI names, in families with several."""
_ONLY = "0"
"""The number of a text encoder without a number, from programs that number them only in families with several."""
_NUMBER = re.compile(r"_(\d+)(?=_|$)")
SAID_IN = ("modelspec.architecture", "ss_base_model_version", "base_model")
"""The metadata keys in which programs write what a file was made for."""
LONGEST_NAME = 200
MOST_NAMED = 4
"""The largest number of families that a sentence lists."""

Sizes = frozenset[tuple[int | None, int | None]]
"""Pairs of inputs and outputs; None is any size."""


@dataclass(frozen=True)
class Layer:
    """A layer that a network changes: its name as in bases.toml, its block numbers by the words before them, and its sizes.

    A size that does not follow from the file is None.
    """

    name: str
    numbers: tuple[tuple[str, int], ...]
    inputs: int | None
    outputs: int | None


@dataclass(frozen=True)
class Base:
    """One table of bases.toml, and the sizes of its family's layers in base_layers.json, as text.

    Names of `modules` and `texts` are patterns.
    """

    id: str
    title: str
    said: tuple[str, ...]
    layers: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[tuple[re.Pattern[str], Sizes], ...] = ()
    texts: tuple[tuple[re.Pattern[str], Sizes], ...] = ()
    blocks: Mapping[str, int] = field(default_factory=dict)
    rare: bool = False
    proved: str = ""

    def sizes_of(self, name: str) -> Sizes:
        """The sizes of the family's layers with this name; empty when it has none."""
        rows = self.texts if _is_text(name) else self.modules
        return _sizes(self.layers.get(name, "")).union(*(sizes for pattern, sizes in rows if pattern.fullmatch(name)))

    def fits(self, owners: Iterable[frozenset[str]], counts: Mapping[str, int]) -> bool:
        """Whether the family has every layer of a file that any family has, and at least one.

        `owners` are the families of each layer; layers that no family has are ignored. `counts` are the largest block numbers.
        """
        if any(counts.get(stack, 0) >= size for stack, size in self.blocks.items()):
            return False
        known = [families for families in owners if families]
        return bool(known) and all(self.id in families for families in known)


def layer(module: str, inputs: int | None, outputs: int | None) -> Layer:
    """The layer that a module of a file changes, with the same name for every program."""
    return Layer(*_named(module), inputs, outputs)


@functools.lru_cache(maxsize=20_000)
def _named(module: str) -> tuple[str, tuple[tuple[str, int], ...]]:
    """The name and numbers of a layer. Cached, because the files of one family share their names."""
    name = module
    while prefix := next((prefix for prefix in _WRAPPERS if name.startswith(prefix)), ""):
        name = name.removeprefix(prefix)
    if text := _TEXT.match(name):
        place = _ONLY if text[1] == "_" else (text[1] or text[2] or _PLACES.get(text[3] or "", "")).rstrip("_")
        name = f"te{place}_{name[text.end() :]}"
    else:
        name = name.removeprefix(next((prefix for prefix in _FLAT if name.startswith(prefix)), ""))
    name = re.sub(r"[._]+", "_", name.replace(".processor", "")).strip("_")
    pieces = _NUMBER.split(name)
    numbers = tuple(
        (words.strip("_"), int(number[:9])) for words, number in zip(pieces[::2], pieces[1::2], strict=False)
    )
    return "_#".join(pieces[::2]), numbers


def named_in(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """The families that the metadata names, each with the metadata entry that names it."""
    found: dict[str, str] = {}
    for key in SAID_IN:
        for name in _families_of(metadata.get(key, "")[:LONGEST_NAME]):
            found.setdefault(name, f"{key} {printable(metadata[key], 80)}")
    return found


@functools.lru_cache(maxsize=4096)
def _families_of(text: str) -> tuple[str, ...]:
    """The families with the longest name that matches a text such as "Flux.1-dev/lora" or "Qwen/Qwen-Image"."""
    parts = [re.sub(r"[^a-z0-9]+", "-", part).strip("-") for part in text.lower().split("/")]
    named = [
        (len(name), base.id)
        for base in load().values()
        for name in base.said
        if any(_is_named(name, part) for part in parts)
    ]
    longest = max(named, default=(0, ""))[0]
    return tuple(sorted({family for length, family in named if length == longest}))


def _is_named(name: str, part: str) -> bool:
    """Whether a text starts with a name as a whole word without a number after it, which would mean another version."""
    if not part.startswith(name):
        return False
    rest = part[len(name) :]
    return not rest or (rest[0] == "-" and (name[-1].isdigit() or not rest[1:].partition("-")[0].isdigit()))


def is_text(each: Layer) -> bool:
    """Whether a layer belongs to a text encoder."""
    return _is_text(each.name)


def writer(module: str) -> str:
    """The program that names layers like this module; "" when it is unknown."""
    name = module.removeprefix(PEFT)
    known = next((who for prefix, who in WRITERS.items() if name.startswith(prefix)), "")
    return known or ("PEFT" if name != module else "")


def base_of(layers: Sequence[Layer], metadata: Mapping[str, str]) -> tuple[str | None, tuple[str, ...]]:
    """The id of the family that the layers belong to, and why; None when no family or more than one matches.

    Metadata decides between families that match. It never overrides the layers.
    """
    counts: dict[str, int] = {}
    for each in layers:
        for stack, number in each.numbers:
            counts[stack] = max(number, counts.get(stack, 0))
    distinct = dict.fromkeys((each.name, each.inputs, each.outputs) for each in layers)
    owners = [_owners(*each) for each in distinct]
    families = load_families()
    said = named_in(metadata)
    known = [found for found in owners if found is not None]
    fitting = [base for base in load().values() if len(known) == len(owners) and base.fits(known, counts)]
    trained = [base for base in fitting if base.id in families and not families[base.id].is_only_recognised]
    # A family that engines can train is preferred to a rare one.
    usual = [base for base in fitting if base.id in said or not base.rare]
    has_usual = any(base in trained for base in usual)
    agreed = [base for base in fitting if base.id in said]
    chosen = agreed or (usual if has_usual else trained or fitting)
    if len(chosen) == 1:
        return _known(chosen[0], _reasons(chosen[0], fitting, said))
    if chosen:
        more = f" or {len(chosen) - MOST_NAMED} others" if len(chosen) > MOST_NAMED else ""
        names = " or ".join(base.title for base in chosen[:MOST_NAMED])
        return None, (f"its layers match {names}{more}, and nothing in the file shows which of them is right",)
    shown = printable(next(iter(distinct), ("", None, None))[0], 80)
    claims = tuple(f"its metadata says {text}" for text in said.values())
    return None, (f"its layers belong to no known family: {shown}", *claims)


def _reasons(base: Base, fitting: list[Base], said: Mapping[str, str]) -> tuple[str, ...]:
    others = [other.title for other in fitting if other is not base]
    if base.id in said:
        alike = f", which also match {' and '.join(others)}" if others else ""
        return (f"has the layers of {base.title}{alike}; its metadata says so: {said[base.id]}",)
    reasons = [f"has the layers of {base.title}"]
    if others:
        reasons.append(f"could also be for a rarely trained family with the same layers: {', '.join(others)}")
    reasons += [f"its metadata says otherwise ({text}), but the layers take precedence" for text in said.values()]
    return tuple(reasons)


def _known(base: Base, reasons: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    if base.id in load_families():
        return base.id, reasons
    return None, (*reasons, f"Easel does not have the family {base.title}")


@functools.lru_cache(maxsize=50_000)
def _owners(name: str, inputs: int | None, outputs: int | None) -> frozenset[str] | None:
    """The families that have a layer with this name and these sizes.

    None for a block's layer that exists in other sizes only: then the model is of a kind that no table describes. The layers
    before and after the blocks vary within a family.
    """
    sizes = {base.id: found for base in load().values() if (found := base.sizes_of(name))}
    owners = frozenset(family for family, found in sizes.items() if _matches(found, inputs, outputs))
    return None if sizes and not owners and "#" in name else owners


def _matches(sizes: Sizes, inputs: int | None, outputs: int | None) -> bool:
    return any(
        (one is None or inputs in (None, one)) and (other is None or outputs in (None, other)) for one, other in sizes
    )


def _is_text(name: str) -> bool:
    return name.partition("_")[0] in ("te", "te0", "te1", "te2", "te3", "te4")


@functools.cache
def load() -> Mapping[str, Base]:
    """The tables of bases.toml, by id, with the layers of base_layers.json.

    Raises:
        DetectionError: a file cannot be used.
    """
    path = Path(__file__).with_name("bases.toml")
    tables = read_toml(path, DetectionError, "Install Easel again.")
    try:
        recorded = json.loads(path.with_name("base_layers.json").read_text("utf-8"))
        return {name: _base(name, table, recorded.get(table.pop("like", name), {})) for name, table in tables.items()}
    except (OSError, TypeError, ValueError) as error:
        raise DetectionError(f"{path.name} cannot be used: {error}", "Install Easel again.") from error


def _base(name: str, table: dict[str, Any], recorded: Mapping[str, Any]) -> Base:
    rows = {kind: tuple(map(_row, table.pop(kind, {}).items())) for kind in ("modules", "texts")}
    blocks = {**recorded.get("blocks", {}), **table.pop("blocks", {})}
    return Base(name, said=tuple(table.pop("said")), layers=recorded.get("layers", {}), blocks=blocks, **rows, **table)


def _row(entry: tuple[str, str]) -> tuple[re.Pattern[str], Sizes]:
    return re.compile(entry[0]), _sizes(entry[1])


@functools.lru_cache(maxsize=4096)
def _sizes(text: str) -> Sizes:
    pairs = (pair.split(">") for pair in text.split())
    return frozenset((_size(inputs), _size(outputs)) for inputs, outputs in pairs)


def _size(text: str) -> int | None:
    return None if text == "*" else int(text)
