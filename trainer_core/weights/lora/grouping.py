"""Which layers of one or several networks belong together, and how each is called in the new file. From the headers alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer_core.errors import WeightsError
from trainer_core.models.families import load_families
from trainer_core.models.header import TensorInfo
from trainer_core.models.header.tensors import shown
from trainer_core.models.loaders import table
from trainer_core.models.renaming.layers import Part
from trainer_core.text import printable
from trainer_core.weights.dtypes import CHOICES
from trainer_core.weights.lora import blocks, naming, sides
from trainer_core.weights.lora.naming import Endings
from trainer_core.weights.lora.sides import Piece
from trainer_core.weights.networks.modules import Module, Network

FULL, NORM = "full", "norm"
"""The layouts whose changes are added number by number where no network has another one for the layer."""
FLOATS = ("F64", "F32", "F16", "BF16")
"""The dtypes that a new file takes over; numbers of 8 bits become fp16."""


@dataclass(frozen=True)
class Member:
    """A module with the number of its file, what its change is multiplied by, and which rows of the layer it has: see `sides.Piece`."""

    file: int
    module: Module
    strength: float
    cut: Part | None = None
    into: Part | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the layer of the new file is the one that the module changes."""
        return self.cut is None and self.into is None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the layer of the new file, as this module shows it.

        Raises:
            WeightsError: the rows cannot be cut.
        """
        whole = self.module.shape or _bias_shape(self.module)
        if self.is_whole or not whole:
            return whole
        if self.into is not None:
            rows, rest = divmod(whole[0] * self.into.of, self.into.size)
        else:
            assert self.cut is not None, "checked above"
            start, end = sides.rows(self.cut, whole[0])
            rows, rest = end - start, end == 0
        if rest:
            raise WeightsError(
                f"The layer {printable(self.module.key, 80)} has {whole[0]} rows, which cannot be divided as its family needs.",
                "Check that the family is right.",
            )
        return (rows, *whole[1:])


@dataclass(frozen=True)
class Group:
    """One layer of the new file: its name and endings there, its modules, its block, the shape of its change and its dtype.

    `is_plain`: a full difference becomes a product, too.
    """

    name: str
    endings: Endings
    members: tuple[Member, ...]
    block: str
    shape: tuple[int, ...]
    dtype: str
    is_plain: bool = False

    @property
    def is_summed(self) -> bool:
        """Whether the changes are added as they are, without a product."""
        if len(self.shape) < 2:
            return True
        left = (NORM,) if self.is_plain else (FULL, NORM)
        return all(each.module.layout in left and each.is_whole for each in self.members)

    @property
    def is_single(self) -> bool:
        """Whether it is one plain LoRA layer, whose matrices stay as they are unless the rank shall change."""
        return len(self.members) == 1 and self.members[0].module.layout == "lora"

    @property
    def is_conv(self) -> bool:
        """Whether the layer has a kernel of more than one pixel."""
        return math.prod(self.shape[2:]) > 1

    @property
    def rank(self) -> int:
        """The rank of the exact sum, as the headers show it; of several modules at most that of any matrix of this shape."""
        total = sum(rank_of(each.module) for each in self.members)
        return total if self.is_single else min(total, self.most_rank)

    @property
    def most_rank(self) -> int:
        """The rank of a matrix of this shape at most."""
        return min(self.shape[0], math.prod(self.shape[1:])) if len(self.shape) > 1 else 0

    def size_bytes(self, rank: int) -> int:
        """The size of its tensors with this rank."""
        if self.is_summed:
            return TensorInfo(self.dtype, self.shape).size_bytes
        return TensorInfo(self.dtype, (rank, self.shape[0] + math.prod(self.shape[1:]))).size_bytes


def rank_of(module: Module) -> int:
    """The rank of a module's change as a product; that of a full difference is only known from its numbers, so it is the most."""
    shapes, shape = module.shapes, module.shape or (0,)
    most = min(shape[0], math.prod(shape[1:])) if len(shape) > 1 else 0
    if module.layout == "lora":
        return module.rank
    if module.layout == "loha":
        return min(module.rank**2, most)
    if module.layout == "lokr":
        sides = (_side_rank(shapes, number) for number in "12")
        return min(math.prod(sides), most)
    return most


def _side_rank(shapes: Mapping[str, tuple[int, ...]], number: str) -> int:
    whole = shapes.get(f"lokr_w{number}")
    if whole is None:
        return shapes[f"lokr_w{number}_b"][0]
    return min(whole[0], math.prod(whole[1:]))


def groups(
    networks: Sequence[Network],
    strengths: Sequence[float],
    weights: Sequence[Mapping[str, float]],
    to: str = naming.SAME,
    dtype: str = "same",
    *,
    is_plain: bool = False,
) -> list[Group]:
    """The layers of the sum of networks, in the order of the first one; each strength counts together with the weights of the blocks.

    `is_plain`: full differences become products, too.

    Raises:
        WeightsError: the networks are of different families or have different layers of the same name, or a layer has no name in
            the naming.
    """
    family = common_family(networks)
    side = _side(networks[0], family) if to == naming.SAME else sides.preferred(to, family)
    found: dict[tuple[str, str], list[Member]] = {}
    for number, network in enumerate(networks):
        own = weights[number] if weights else {}
        for module in network.modules:
            times = strengths[number] * blocks.factor(blocks.block_of(module.key, family), own, family)
            for piece in _pieces(module, family, side):
                found.setdefault(piece.layer, []).append(Member(number, module, times, piece.cut, piece.into))
    named = _named(found, networks[0], family, to)
    made = []
    for layer, members in found.items():
        if used := tuple(each for each in members if each.strength):
            block = blocks.block_of(members[0].module.key, family)
            shape = _shape(used, networks)
            made.append(Group(*named[layer], used, block, shape, _dtype(used[0].module, dtype), is_plain))
    return made


def _side(first: Network, family: str) -> str:
    """The side whose names a file has; "" if it shows none, as a file of text encoders only."""
    places = (naming.place_of(module.key, family) for module in first.modules)
    counted = Counter(place.naming for place in places if place and place.naming in table.DENOISER)
    return counted.most_common(1)[0][0] if counted else ""


def _pieces(module: Module, family: str, side: str) -> list[Piece]:
    """The layers of the new file that a module changes. One whose layer is not known keeps its own name."""
    place = naming.place_of(module.key, family)
    if place is None:
        return [Piece(("", module.key))]
    found = sides.pieces(place, family, side) if side else []
    return found or [Piece(naming.same_layer(place))]


def common_family(networks: Sequence[Network]) -> str:
    """The family of several networks; "" if none of them shows one.

    Raises:
        WeightsError: they are of different families.
    """
    seen = {network.family: network for network in networks if network.family}
    if len(seen) > 1:
        first, second = list(seen.values())[:2]
        raise WeightsError(
            f"{shown(first.header.path)} is for {_title(first.family)}, and {shown(second.header.path)} for "
            f"{_title(second.family)}: they change different models.",
            "Choose LoRAs of one family; if Easel is wrong, set the family.",
        )
    return next(iter(seen), "")


def endings_of(module: Module, has_alpha: bool) -> Endings:
    """The endings that a module's own parts have in its file; by its name for a module that is no LoRA."""
    up, down = module.parts.get("up", ""), module.parts.get("down", "")
    if up.startswith(module.key) and down.startswith(module.key):
        return Endings(up[len(module.key) :], down[len(module.key) :], has_alpha)
    usual = naming.SD_SCRIPTS_ENDINGS if module.key.startswith(("lora_", "lycoris_")) else naming.PEFT_ENDINGS
    return Endings(usual.up, usual.down, has_alpha)


def _named(
    found: Mapping[tuple[str, str], Sequence[Member]], first: Network, family: str, to: str
) -> dict[tuple[str, str], tuple[str, Endings]]:
    """The name and the endings of each layer in the new file."""
    has_alpha = any("alpha" in module.parts for module in first.modules)
    sample = next((module for module in first.modules if module.layout == "lora"), first.modules[0])
    own = endings_of(sample, has_alpha)
    forms = {place.form.code for module in first.modules if (place := naming.place_of(module.key, family))}
    named, missing = {}, []
    for layer, members in found.items():
        module = members[0].module
        if to == naming.SAME:
            is_own = members[0].file == 0 and members[0].is_whole
            name = module.key if is_own else _like_first(layer, module.key, family, forms)
            named[layer] = name, endings_of(module, has_alpha) if members[0].file == 0 else own
        else:
            name = naming.name(to, family, layer) if layer[0] else ""
            named[layer] = name, naming.ENDINGS[to]
            if not name:
                missing.append(module.key)
    if missing:
        raise naming.lacking(to, family, missing)
    return named


def _like_first(layer: tuple[str, str], key: str, family: str, forms: set[str]) -> str:
    """The name of a layer that only a later file has, in the naming of the first file."""
    if not layer[0]:
        return key
    known = {form.code: form for form in table.forms(family, layer[0])}
    if layer[0] in table.DENOISER:
        return next((form.name(layer[1]) for code, form in known.items() if code in forms), key)
    to = next((to for to, codes in (("sd-scripts", "klt123"), ("comfyui", "c")) if set(codes) & forms), "diffusers")
    return naming.name(to, family, layer) or key


def _shape(members: Sequence[Member], networks: Sequence[Network]) -> tuple[int, ...]:
    shapes = {each.file: each.shape for each in members}
    if len({each.shape for each in members}) > 1:
        told = ", ".join(f"{list(shape)} in {shown(networks[file].header.path)}" for file, shape in shapes.items())
        raise WeightsError(
            f"The layer {printable(members[0].module.key, 80)} has different shapes: {told}.",
            "These networks are for different models, and cannot be merged.",
        )
    return next(iter(shapes.values()))


def _bias_shape(module: Module) -> tuple[int, ...]:
    return next((module.shapes[part] for part in ("diff_b", "b_norm") if part in module.shapes), ())


def _dtype(module: Module, wanted: str) -> str:
    if found := CHOICES[wanted]:
        return found
    own = [module.header.tensors[key].dtype for part, key in module.parts.items() if part != "alpha"]
    floats = [each for each in own if each in FLOATS]
    return floats[0] if floats else "F16"


def _title(family: str) -> str:
    return load_families()[family].title if family in load_families() else family
