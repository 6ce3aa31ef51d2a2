"""What a LoRA or ControlNet was made for: the family whose layers it has, by names and sizes."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from trainer_core.errors import DetectionError
from trainer_core.families import load_families
from trainer_core.text import printable

WRITERS: Mapping[str, str] = {
    "lora_transformer_": "OneTrainer", "lora_prior_unet_": "OneTrainer", "lycoris_": "LyCORIS",
    "lora_unet_": "kohya", "oft_unet_": "kohya", "lora_te": "kohya",
    "diffusion_model.": "ai-toolkit or ComfyUI", "transformer.": "diffusers", "unet.": "diffusers",
    "text_encoder": "diffusers",
}  # fmt: skip
"""Who names layers behind such a prefix. Source: ComfyUI comfy/lora.py; InvokeAI model_manager/configs/lora.py."""
_WRAPPERS = ("base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.", "unet.", "net.")
_FLAT = tuple(prefix for prefix in WRITERS if prefix.endswith("_"))
_TEXT = re.compile(r"(?:lora_te([123]?)_|text_encoder(?:_([23]))?\.|text_encoders\.[a-z0-9_]+\.transformer\.)")
_NUMBER = re.compile(r"_(\d+)(?=_|$)")
SAID_IN = ("modelspec.architecture", "ss_base_model_version", "base_model", "ot_model_type")
"""Where programs write what a file was made for."""


@dataclass(frozen=True)
class Layer:
    """A layer that a file changes: its name as in bases.toml, its numbers by the words before them, and its sizes.

    A size that cannot be told from the file is None.
    """

    name: str
    numbers: tuple[tuple[str, int], ...]
    inputs: int | None
    outputs: int | None


@dataclass(frozen=True)
class Base:
    """One table of bases.toml; names are compiled, and sizes are pairs with None for any."""

    id: str
    title: str
    said: tuple[str, ...]
    modules: tuple[tuple[re.Pattern[str], frozenset[tuple[int | None, int | None]]], ...]
    texts: tuple[tuple[re.Pattern[str], frozenset[tuple[int | None, int | None]]], ...] = ()
    never: tuple[re.Pattern[str], ...] = ()
    blocks: Mapping[str, int] = field(default_factory=dict)
    rare: bool = False
    proved: str = ""

    def fits(self, layers: Iterable[Layer], counts: Mapping[str, int]) -> bool:
        """Whether one of the layers is of this family and none contradicts it; `counts` are the largest numbers."""
        if any(counts.get(stack, 0) >= size for stack, size in self.blocks.items()):
            return False
        has_one = False
        for layer in layers:
            asked, is_never = _asked(self.id, layer.name)
            if is_never or (asked and not any(_matches(layer, sizes) for sizes in asked)):
                return False
            has_one = has_one or bool(asked)
        return has_one

    def is_said(self, metadata: Mapping[str, str]) -> str:
        """What of the metadata names this family; "" when nothing does."""
        for key in SAID_IN:
            value = metadata.get(key, "").lower()
            if value and any(fnmatchcase(value, pattern) for pattern in self.said):
                return f"{key} {printable(metadata[key], 80)}"
        return ""


def layer(module: str, inputs: int | None, outputs: int | None) -> Layer:
    """The layer that a module of a file changes, named alike for every program."""
    return Layer(*_named(module), inputs, outputs)


@functools.lru_cache(maxsize=20_000)
def _named(module: str) -> tuple[str, tuple[tuple[str, int], ...]]:
    """The name and numbers of a layer. Kept: the files of one family share their names."""
    name = module.removeprefix(_WRAPPERS[0])
    text = _TEXT.match(name)
    if text:
        name = f"te{text[1] or text[2] or ''}_{name[text.end() :]}"
    else:
        prefix = next((prefix for prefix in (*_WRAPPERS[1:], *_FLAT) if name.startswith(prefix)), "")
        name = name.removeprefix(prefix)
    name = re.sub(r"[._]+", "_", name.replace(".processor", "")).strip("_")
    pieces = _NUMBER.split(name)
    numbers = tuple(
        (words.strip("_"), int(number[:9])) for words, number in zip(pieces[::2], pieces[1::2], strict=False)
    )
    return "_#".join(pieces[::2]), numbers


def is_text(each: Layer) -> bool:
    """Whether a layer is a text encoder's."""
    return _is_text(each.name)


def writer(module: str) -> str:
    """Who names layers as this one is named; "" when it is not known."""
    name = module.removeprefix(_WRAPPERS[0])
    known = next((who for prefix, who in WRITERS.items() if name.startswith(prefix)), "")
    return known or ("PEFT" if name != module else "")


def base_of(layers: Sequence[Layer], metadata: Mapping[str, str]) -> tuple[str | None, tuple[str, ...]]:
    """The id of the family that layers are of and why; None when no family or more than one fits.

    Metadata decides between families that fit, and never against the layers.
    """
    counts: dict[str, int] = {}
    for each in layers:
        for stack, number in each.numbers:
            counts[stack] = max(number, counts.get(stack, 0))
    distinct = {(each.name, each.inputs, each.outputs): each for each in layers}
    families = load_families()
    said = {base.id: text for base in load().values() if (text := base.is_said(metadata))}
    fitting = [base for base in load().values() if base.fits(distinct.values(), counts)]
    usual = [base for base in fitting if not base.rare or base.id in said]
    agreed = [base for base in usual if base.id in said]
    # Of rare ones those that engines know come first, as the families of pictures before those of video.
    known = [base for base in fitting if base.id in families and not families[base.id].is_only_recognised]
    chosen = agreed or usual or known or fitting
    if len(chosen) == 1:
        return _known(chosen[0], _reasons(chosen[0], fitting, said))
    if chosen:
        names = " or ".join(base.title for base in chosen)
        return None, (f"its layers are those of {names}: nothing says of which",)
    shown = printable(next(iter(distinct), ("", None, None))[0], 80)
    claims = tuple(f"its metadata says {text}" for text in said.values())
    return None, (f"its layers are of no family that is known: {shown}", *claims)


def _reasons(base: Base, fitting: list[Base], said: Mapping[str, str]) -> tuple[str, ...]:
    others = [other.title for other in fitting if other is not base]
    if base.id in said:
        alike = f", which {' and '.join(others)} would fit as well" if others else ""
        return (f"has the layers of {base.title}{alike}; its metadata says so: {said[base.id]}",)
    reasons = [f"has the layers of {base.title}"]
    if others:
        reasons.append(f"could also be for what has the same layers but is seldom trained: {', '.join(others)}")
    reasons += [f"its metadata says otherwise ({text}), but layers outrank it" for text in said.values()]
    return tuple(reasons)


def _known(base: Base, reasons: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    if base.id in load_families():
        return base.id, reasons
    return None, (*reasons, f"{base.title} is no family of Easel's")


def _matches(each: Layer, sizes: frozenset[tuple[int | None, int | None]]) -> bool:
    return any(
        (inputs is None or each.inputs in (None, inputs)) and (outputs is None or each.outputs in (None, outputs))
        for inputs, outputs in sizes
    )


@functools.lru_cache(maxsize=50_000)
def _asked(family: str, name: str) -> tuple[tuple[frozenset[tuple[int | None, int | None]], ...], bool]:
    """The sizes that a family's layers of this name may have, and whether it never has one of this name."""
    base = load()[family]
    rows = base.texts if _is_text(name) else base.modules
    return tuple(sizes for pattern, sizes in rows if pattern.fullmatch(name)), any(
        pattern.fullmatch(name) for pattern in base.never
    )


def _is_text(name: str) -> bool:
    return name.partition("_")[0] in ("te", "te1", "te2", "te3")


@functools.cache
def load() -> Mapping[str, Base]:
    """The tables of bases.toml, by id.

    Raises:
        DetectionError: the file cannot be used.
    """
    path = Path(__file__).with_name("bases.toml")
    try:
        return {name: _base(name, table) for name, table in tomllib.loads(path.read_text("utf-8")).items()}
    except (OSError, TypeError, ValueError) as error:
        raise DetectionError(f"{path.name} cannot be used: {error}", "Install Easel again.") from error


def _base(name: str, table: dict[str, Any]) -> Base:
    rows = {kind: tuple(map(_row, table.pop(kind, {}).items())) for kind in ("modules", "texts")}
    never = tuple(map(re.compile, table.pop("never", ())))
    return Base(name, said=tuple(table.pop("said")), never=never, **rows, **table)


def _row(entry: tuple[str, str]) -> tuple[re.Pattern[str], frozenset[tuple[int | None, int | None]]]:
    pairs = (text.split(">") for text in entry[1].split())
    sizes = frozenset((_size(inputs), _size(outputs)) for inputs, outputs in pairs)
    return re.compile(entry[0]), sizes


def _size(text: str) -> int | None:
    return None if text == "*" else int(text)
