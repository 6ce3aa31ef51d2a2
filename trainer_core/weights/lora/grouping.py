"""Which layers of one or several networks belong together, and how each is called in the new file. From the headers alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer_core.errors import WeightsError
from trainer_core.models.families import load_families
from trainer_core.models.header import TensorInfo
from trainer_core.models.header.tensors import shown
from trainer_core.models.loaders import table
from trainer_core.text import printable
from trainer_core.weights.lora import blocks, naming
from trainer_core.weights.lora.naming import Endings
from trainer_core.weights.networks.modules import Module, Network

SUMMED = ("full", "norm")
"""The layouts whose changes are added number by number where no network has another one for the layer."""
DTYPES: Mapping[str, str] = {"same": "", "fp32": "F32", "fp16": "F16", "bf16": "BF16"}
FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class Member:
    """A module with the number of its file, and what its change is multiplied by."""

    file: int
    module: Module
    strength: float


@dataclass(frozen=True)
class Group:
    """One layer of the new file: its name and endings there, its modules, its block, the shape of its change and its dtype."""

    name: str
    endings: Endings
    members: tuple[Member, ...]
    block: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def is_summed(self) -> bool:
        """Whether the changes are added as they are, without a product."""
        return all(each.module.layout in SUMMED for each in self.members)

    @property
    def is_conv(self) -> bool:
        """Whether the layer has a kernel of more than one pixel."""
        return math.prod(self.shape[2:]) > 1

    @property
    def rank(self) -> int:
        """The rank of the exact sum, as the headers show it; at most that of any matrix of this shape."""
        return min(sum(map(rank_of, (each.module for each in self.members))), self.most_rank)

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
) -> list[Group]:
    """The layers of the sum of networks, in the order of the first one; each strength counts together with the weights of the blocks.

    Raises:
        WeightsError: the networks are of different families or have different layers of the same name, a change depends on the
            model, or a layer has no name in the naming.
    """
    family = common_family(networks)
    found: dict[tuple[str, str], list[Member]] = {}
    for number, network in enumerate(networks):
        for module in network.modules:
            times = strengths[number] * blocks.factor(
                blocks.block_of(module.key, family), weights[number] if weights else {}, family
            )
            place = naming.place_of(module.key, family)
            layer = naming.same_layer(place) if place else ("", module.key)
            found.setdefault(layer, []).append(Member(number, module, times))
    _check_sides(found, networks, family)
    named = _named(found, networks[0], family, to)
    made = []
    for layer, members in found.items():
        used = tuple(each for each in members if each.strength) or (members[0],)
        shape = _shape(used, networks)
        block = blocks.block_of(members[0].module.key, family)
        made.append(Group(*named[layer], used, block, shape, _dtype(used[0].module, dtype)))
    return [group for group in made if any(each.strength for each in group.members)]


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
    usual = naming.KOHYA_ENDINGS if module.key.startswith(("lora_", "lycoris_")) else naming.PEFT_ENDINGS
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
            name = module.key if members[0].file == 0 else _like_first(layer, module.key, family, forms)
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
    to = next((to for to, codes in (("kohya", "klt123"), ("comfyui", "c")) if set(codes) & forms), "diffusers")
    return naming.name(to, family, layer) or key


def _check_sides(found: Mapping[tuple[str, str], Sequence[Member]], networks: Sequence[Network], family: str) -> None:
    """Raises if one file names layers as the original code and another one as diffusers, so that the same layers look different."""
    sides: dict[int, set[str]] = {}
    for (side, layer), members in found.items():
        if side in table.DENOISER and not _is_in_both(layer, family):
            for member in members:
                sides.setdefault(member.file, set()).add(side)
    if len({frozenset(each) for each in sides.values()}) > 1:
        names = ", ".join(shown(networks[file].header.path) for file in sides)
        raise WeightsError(
            f"The files name the layers of the model in two ways, as its original code and as diffusers: {names}.",
            "Convert one of them first: easel lora convert FILE --naming kohya",
        )


def _is_in_both(layer: str, family: str) -> bool:
    return all(layer in table.layers(family, side) for side in table.DENOISER)


def _shape(members: Sequence[Member], networks: Sequence[Network]) -> tuple[int, ...]:
    shapes = {each.file: each.module.shape or _bias_shape(each.module) for each in members}
    if len(members) > 1 and len({tuple(shape) for shape in shapes.values()}) > 1:
        told = ", ".join(f"{list(shape)} in {shown(networks[file].header.path)}" for file, shape in shapes.items())
        raise WeightsError(
            f"The layer {printable(members[0].module.key, 80)} has different shapes: {told}.",
            "These networks are for different models, and cannot be merged.",
        )
    return next(iter(shapes.values()))


def _bias_shape(module: Module) -> tuple[int, ...]:
    return next((module.shapes[part] for part in ("diff_b", "b_norm") if part in module.shapes), ())


def _dtype(module: Module, wanted: str) -> str:
    if found := DTYPES[wanted]:
        return found
    own = [module.header.tensors[key].dtype for part, key in module.parts.items() if part != "alpha"]
    floats = [each for each in own if each in FLOATS]
    return floats[0] if floats else "F16"


def _title(family: str) -> str:
    return load_families()[family].title if family in load_families() else family
