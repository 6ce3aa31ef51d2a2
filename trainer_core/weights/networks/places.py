"""Where a network changes a model: for each of its modules the tensors, and the rows of them, in any naming of either."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trainer_core.models import detection
from trainer_core.models.families.denoiser import Denoiser
from trainer_core.models.header import Header, TensorInfo
from trainer_core.models.loaders import table
from trainer_core.models.renaming import Form, layers, pieces
from trainer_core.weights.networks.modules import Module

FLAT = ("lora_unet_", "lora_transformer_", "lycoris_", "lora_prior_unet_", "oft_unet_")
"""The prefixes of denoiser layers whose names have no dots. Source: sd-scripts networks/*.py; ComfyUI comfy/lora.py, model_lora_keys_unet."""
DOTTED = (
    "model.diffusion_model.", "diffusion_model.", "unet.base_model.model.", "transformer.base_model.model.",
    "base_model.model.", "unet.", "transformer.", "",
)  # fmt: skip
"""The prefixes of denoiser layers with the dots of the model, longest first. Source: the same, and PEFT 0.21.2."""
WEIGHTS = (".weight", ".scale")
"""The endings of weights: FLUX names the weight of some norms a scale."""
# Source: ComfyUI supported_models.py; Stability AI's own files; diffusers' folders.
_TEXT_ROOT = re.compile(
    r"(?:cond_stage_model|conditioner\.embedders\.(?P<number>\d)|text_encoders\.(?P<kind>\w+))\.(?:transformer\.|model\.)"
    r"|text_encoder(?:_(?P<component>\d))?/"
)
_OPENCLIP = "transformer.resblocks.0.attn.in_proj_weight"
_KINDS = ("clip_l", "clip_h", "clip_g", "t5xxl")
"""Text encoders in the order in which the trainers count them; any other comes last."""


class Target(NamedTuple):
    """Rows of a tensor of the model that take rows of a change: `rows` of them, from `start` on, and from `first` of the change on."""

    tensor: str
    start: int
    rows: int
    first: int = 0


@dataclass(frozen=True)
class Layer:
    """A layer of a model as a network changes it: its rows, in order, and the shape of their weight. `text` is the number of its text encoder, 0 for the denoiser."""

    targets: tuple[Target, ...]
    shape: tuple[int, ...]
    text: int = 0


@dataclass(frozen=True)
class Places:
    """The layer of each module, by its key; `missing` are the modules for which the model has no layer."""

    found: Mapping[str, Layer]
    missing: tuple[Module, ...]


def places(modules: Iterable[Module], model: Header, family: str = "") -> Places:
    """Where modules change a model; "" stands for the family that its header shows."""
    index = Index(model, family)
    found: dict[str, Layer] = {}
    missing = []
    for module in modules:
        layer = index.layer(module.key)
        if layer is None:
            missing.append(module)
        else:
            found[module.key] = layer
    return Places(found, tuple(missing))


def bias_of(tensor: str) -> str:
    """The name of the bias of a weight."""
    stem, _, _ = tensor.rpartition("weight")
    return f"{stem}bias"


class Index:
    """The layers of a model, by every name that a network may have for them."""

    def __init__(self, model: Header, family: str = "") -> None:
        self.family = family or detection.detect(model).family or ""
        self._denoiser = _Names(dict(_own(model, Denoiser.of(model).prefix)), self.family)
        self._texts = {number: _Names(rows, "", number) for number, rows in _encoders(model, self.family).items()}
        self._tensors = model.tensors

    def layer(self, key: str) -> Layer | None:
        """The layer of a module with this key; None if the model has none."""
        own = key.replace(".processor.", ".")
        for number, names in self._texts.items():
            for rest, is_flat in _below(own, _text_prefixes(number, len(self._texts))):
                if found := names.find(rest, is_flat=is_flat):
                    return found
        prefixes = [(each, True) for each in FLAT] + [(each, False) for each in DOTTED]
        for rest, is_flat in _below(own, prefixes):
            if found := self._denoiser.find(rest, is_flat=is_flat):
                return found
        return None

    def denoiser(self) -> Iterator[tuple[str, Layer]]:
        """The layers of the denoiser under their own names."""
        yield from self._denoiser.whole()

    def texts(self) -> Iterator[tuple[int, str, Layer]]:
        """The layers of the text encoders: the number of the encoder, counted as the trainers do, and the layer's name."""
        for number, names in self._texts.items():
            yield from ((number, name, layer) for name, layer in names.whole())


class _Names:
    """The layers of one part of a model: their own names, and those of the other naming."""

    def __init__(self, own: Mapping[str, Layer], family: str, text: int = 0) -> None:
        self._own, self._family, self._text = own, family, text
        self._flat: dict[str, str] = {}
        for name in own:
            for known in (name, *self._others(name)):
                self._flat.setdefault(known.replace(".", "_"), known)

    def find(self, name: str, *, is_flat: bool) -> Layer | None:
        """The layer with this name in either naming."""
        if is_flat:
            name = self._flat.get(name) or self._flat.get(f"{name}_0", "")
        found = self._named(name)
        # The first files of diffusers leave the number out.
        return found or (self._named(f"{name}.0") if name.endswith("to_out") else None)

    def whole(self) -> Iterator[tuple[str, Layer]]:
        """Every layer under its own name."""
        yield from self._own.items()

    def _others(self, name: str) -> Iterator[str]:
        if self._text:
            yield name.removeprefix("text_model.")
            return
        yield from (part.name for part in layers.parts(self._family, name))
        yield from (each.original for each in layers.joined(self._family, name))

    def _named(self, name: str) -> Layer | None:
        if name in self._own:
            return self._own[name]
        if self._text:
            return self._own.get(f"text_model.{name}")
        for original, part in layers.joined(self._family, name):
            if original in self._own:
                return _cut(self._own[original], part, self._is_swapped(original, part))
        names = layers.parts(self._family, name)
        if names and all(part.name in self._own for part in names):
            return _joined([self._own[part.name] for part in names], self._is_swapped_in(name, names))
        return None

    def _is_swapped(self, original: str, part: layers.Part) -> bool:
        shape = self._own[original].shape
        return part.swapped or (
            layers.is_swapped_only_last(self._family, original) and len(shape) > 1 and shape[0] == 2 * shape[1]
        )

    def _is_swapped_in(self, original: str, names: Sequence[layers.Part]) -> bool:
        shape = self._own[names[0].name].shape
        return names[0].swapped or (
            layers.is_swapped_only_last(self._family, original) and len(shape) > 1 and shape[0] == 2 * shape[1]
        )


def _cut(layer: Layer, part: layers.Part, swapped: bool) -> Layer | None:
    """A part of the rows of an original layer."""
    rows = layer.shape[0]
    if rows % part.of or (swapped and rows % 2):
        return None
    each = rows // part.of
    start, count = part.start * each, part.size * each
    (target,) = layer.targets
    kept = (Target(target.tensor, target.start + start, count),)
    return Layer(_swapped(target.tensor, count) if swapped else kept, (count, *layer.shape[1:]), layer.text)


def _joined(own: Sequence[Layer], swapped: bool) -> Layer:
    """Layers of diffusers as one original layer."""
    if swapped:
        (target,) = own[0].targets
        return Layer(_swapped(target.tensor, target.rows), own[0].shape)
    targets, first = [], 0
    for layer in own:
        (target,) = layer.targets
        targets.append(target._replace(first=first))
        first += target.rows
    return Layer(tuple(targets), (first, *own[0].shape[1:]))


def _swapped(tensor: str, rows: int) -> tuple[Target, ...]:
    half = rows // 2
    return (Target(tensor, half, half, 0), Target(tensor, 0, half, half))


def _own(model: Header, prefix: str) -> Iterator[tuple[str, Layer]]:
    for tensor, info in model.tensors.items():
        ending = next((each for each in WEIGHTS if tensor.endswith(each)), "")
        if tensor.startswith(prefix) and ending and info.shape:
            # SimpleTuner's folder of Anima has the denoiser one word deeper.
            name = tensor[len(prefix) : -len(ending)].removeprefix("core.")
            yield name, Layer((Target(tensor, 0, info.shape[0]),), info.shape)


def _encoders(model: Header, family: str) -> dict[int, dict[str, Layer]]:
    """The layers of each text encoder, by its number."""
    rows: dict[tuple[int, str], dict[str, TensorInfo]] = {}
    for tensor, info in model.tensors.items():
        if found := _TEXT_ROOT.match(tensor):
            rows.setdefault((_order(found), found[0]), {})[tensor[found.end() :]] = info
    if not rows and (alone := _alone(model, family)):
        return alone
    return {
        number: dict(_text_layers(root, rows[order, root], number))
        for number, (order, root) in enumerate(sorted(rows), start=1)
    }


def _alone(model: Header, family: str) -> dict[int, dict[str, Layer]]:
    """The layers of a file that is one text encoder."""
    seen = detection.detect(model)
    if seen.role != "text_encoder":
        return {}
    known = [naming for naming in table.table()["families"].get(family, {}) if naming not in table.DENOISER]
    number = known.index(seen.variant) + 1 if seen.variant in known else 1
    own = {name[len(seen.prefix) :]: info for name, info in model.tensors.items() if name.startswith(seen.prefix)}
    return {number: dict(_text_layers(seen.prefix, own, number))}


def _order(found: re.Match[str]) -> int:
    if found["number"]:
        return int(found["number"])
    if found["kind"]:
        return _KINDS.index(found["kind"]) if found["kind"] in _KINDS else len(_KINDS)
    return int(found["component"] or 1)


def _text_layers(root: str, own: Mapping[str, TensorInfo], number: int) -> Iterator[tuple[str, Layer]]:
    """The layers of a text encoder in the names of transformers; OpenCLIP joins some of them."""
    if _OPENCLIP not in own:
        for tensor, info in own.items():
            if tensor.endswith(".weight") and info.shape:
                name = tensor.removesuffix(".weight")
                yield name, Layer((Target(root + tensor, 0, info.shape[0]),), info.shape, number)
        return
    placed, start = {}, 0
    for name, info in own.items():
        placed[name] = info._replace(start_bytes=start)
        start += info.size_bytes
    starts = {info.start_bytes: name for name, info in placed.items() if info.size_bytes}
    for piece in pieces("clip_g", placed, Form("openclip", ""), Form("transformers", "")):
        if not piece.name.endswith(".weight") or not piece.shape or piece.turned:
            continue
        source, place = _source(piece.start, placed, starts)
        row_bytes = piece.size // piece.shape[0]
        target = Target(root + source, place // row_bytes if row_bytes else 0, piece.shape[0])
        yield piece.name.removesuffix(".weight"), Layer((target,), piece.shape, number)


def _source(start: int, placed: Mapping[str, TensorInfo], starts: Mapping[int, str]) -> tuple[str, int]:
    """The tensor that contains a byte, and how many bytes of it stand before that one."""
    name = starts.get(start)
    if name is None:
        name = next(n for n, info in placed.items() if info.start_bytes < start < info.start_bytes + info.size_bytes)
    return name, start - placed[name].start_bytes


def _text_prefixes(number: int, of: int) -> list[tuple[str, bool]]:
    """The prefixes of the layers of a text encoder, each with whether the names have no dots."""
    component = "text_encoder" if number == 1 else f"text_encoder_{number}"
    found = [(f"lora_te{number}_", True), (f"{component}.base_model.model.", False), (f"{component}.", False)]
    if number == 1:
        found.append(("lora_te_", True))
    if number == 2 and of == 2:
        # OneTrainer counts T5 as the third of FLUX, too. Source: ComfyUI comfy/lora.py, model_lora_keys_clip.
        found.append(("lora_te3_", True))
    return found


def _below(key: str, prefixes: Iterable[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
    return ((key[len(prefix) :], is_flat) for prefix, is_flat in prefixes if key.startswith(prefix))
