"""Reads a network: its modules, and the change that each makes to the weight of its layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer_core.errors import WeightsError
from trainer_core.models import detection
from trainer_core.models.detection import layouts
from trainer_core.models.detection.layouts import DORA
from trainer_core.models.header.tensors import shown
from trainer_core.text import amount, printable
from trainer_core.weights.networks import dora
from trainer_core.weights.networks.alphas import Stated
from trainer_core.weights.networks.kinds import by_layout
from trainer_core.weights.networks.kinds.kind import Factors, Kind, Shape, lacking

if TYPE_CHECKING:
    from trainer_core.models.header import Header
    from trainer_core.weights.numbers import Floats
    from trainer_core.weights.reading import Weights

MOST_NUMBERS = 1 << 31
"""The most numbers that one change may have: a file could claim any shape. The largest layer of a known model has 0.5e9."""
BIASES = ("diff_b", "b_norm", "lora_bias")


@dataclass(frozen=True)
class Module:
    """One changed layer of a network.

    `key` is its name in the file, without the ending of a part; `layout` one of `models.detection.layouts`; `parts` are the keys of
    its parts. `alpha` is None where the file states none.
    """

    key: str
    layout: str
    parts: Mapping[str, str]
    header: Header
    alpha: float | None = None
    weights: Weights | None = None

    @property
    def kind(self) -> str:
        """The kind: its layout, "locon" for a LoRA with a kernel, and "dora" if it has magnitudes."""
        if DORA in self.parts:
            return "dora"
        is_conv = self.layout == "lora" and len(self.shapes.get("down", ())) > 2
        return "locon" if is_conv else self.layout

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """The shapes of its parts."""
        return {part: self.header.tensors[name].shape for part, name in self.parts.items()}

    @property
    def rank(self) -> int:
        """The rank; 0 for a kind without one."""
        return self._kind.rank(self.shapes)

    @property
    def scale(self) -> float:
        """What the product is multiplied by: alpha / rank, and 1 where the file states no alpha or the kind has no rank."""
        rank = self.rank
        return 1.0 if self.alpha is None or not rank else self.alpha / rank

    @property
    def needs_base(self) -> bool:
        """Whether its change depends on the weight that it changes."""
        return self._kind.needs_base or DORA in self.parts

    @property
    def has_weight(self) -> bool:
        """Whether it changes the weight, and not only the bias."""
        return set(self.parts) - {*BIASES, "alpha"} != set()

    @property
    def shape(self) -> Shape | None:
        """The shape of the change as the header shows it; None where only the weight has it.

        Raises:
            WeightsError: a part is missing, the parts do not fit together, or they are too large.
        """
        if "reshape_weight" in self.parts:
            raise lacking(self.key, "makes its layer larger, which cannot be computed")
        found = self._kind.shape(self.shapes, self.key)
        if found is not None and math.prod(found) > MOST_NUMBERS:
            raise lacking(self.key, f"states a change of the shape {list(found)}, which is too large")
        return found

    def factors(self) -> Factors | None:
        """The change at strength 1 as a product of two matrices; None for a kind that is none.

        Raises:
            WeightsError: the parts do not fit together, or contain numbers that are not finite.
        """
        _ = self.shape
        return None if DORA in self.parts else self._kind.factors(self)

    def delta(self, base: Floats | None = None) -> Floats:
        """The change at strength 1, in float32. `base` is the weight in float32, and gives the change its shape.

        Raises:
            WeightsError: the kind needs the weight, its shape is another one, or the parts do not fit together.
        """
        return self.effect(base, 1.0)

    def effect(self, base: Floats | None, strength: float) -> Floats:
        """The change at a strength, by the rule of its kind: see the modules of `kinds`, and `dora`.

        Raises:
            WeightsError: as for `delta`.
        """
        self.check(None if base is None else base.shape)
        if self.needs_base and base is None:
            raise lacking(self.key, f"is a {self.kind}, whose change depends on the weights of the model")
        if DORA not in self.parts or base is None:
            made = self._kind.effect(self, base, strength)
            return made if base is None else made.reshape(base.shape)
        magnitude = self.array(DORA)
        by_output = dora.is_by_output(self.parts[DORA], self.shapes[DORA], len(base))
        change = self._kind.delta(self, base)
        return strength * dora.delta(self, base, change, magnitude, by_output=by_output)

    def bias(self, strength: float = 1.0) -> Floats | None:
        """The change of the bias at a strength; None if it does not change."""
        if "lora_bias" in self.parts:
            # Source: PEFT 0.21.2, tuners/lora/layer.py, merge: the bias of lora_B is multiplied by the scale, too.
            return self.array("lora_bias") * (self.scale * strength)
        part = next((part for part in ("diff_b", "b_norm") if part in self.parts), "")
        return self.array(part) * strength if part else None

    def check(self, base: Shape | None) -> None:
        """Checks that the change fits a weight of this shape.

        Raises:
            WeightsError: it does not.
        """
        found = self.shape
        if base is None or found is None:
            return
        # A linear layer may be stored as a convolution of one pixel, and a convolution of LyCORIS as a matrix.
        if found[:1] != base[:1] or math.prod(found) != math.prod(base):
            raise WeightsError(
                f"The module {printable(self.key, 120)} of the network changes a weight of the shape {list(found)}, "
                f"but the model has {list(base)} there: the network was made for another model.",
                "Choose the model for which it was trained.",
            )

    def array(self, part: str) -> Floats:
        """A part in float32.

        Raises:
            WeightsError: it contains numbers that are not finite.
        """
        return self.tensor(self.parts[part])

    def tensor(self, name: str) -> Floats:
        """A tensor of the file in float32.

        Raises:
            WeightsError: it contains numbers that are not finite.
        """
        import numpy as np

        assert self.weights is not None, "the network was read from a header alone"
        found = self.weights.floats(name)
        if not np.isfinite(found).all():
            raise damaged(name, self.header)
        return found

    def pieces(self) -> list[str]:
        """The names of the tensors of a layer that is changed in pieces, in order."""
        if "oft_blocks" in self.parts:
            return [self.parts["oft_blocks"]]
        stem = self.parts["oft_blocks_0"].removesuffix("0")
        names = []
        while f"{stem}{len(names)}" in self.header.tensors:
            names.append(f"{stem}{len(names)}")
        return names

    @property
    def _kind(self) -> Kind:
        return by_layout()[self.layout]


def damaged(name: str, header: Header) -> WeightsError:
    """What is said of a tensor of a network that contains NaN or an infinite number."""
    return WeightsError(
        f"The tensor {printable(name, 120)} of {shown(header.path)} contains numbers that are not finite.",
        "The network is damaged; use an earlier checkpoint of it.",
    )


@dataclass(frozen=True)
class Network:
    """A network: its modules in the order of the file, and the keys that are part of no module that can be computed."""

    header: Header
    family: str
    modules: Sequence[Module]
    unknown: tuple[str, ...] = ()

    @property
    def said_of_unknown(self) -> str:
        """A sentence about tensors that are part of no module, as where one half of a layer is missing; "" if there are none."""
        if not self.unknown:
            return ""
        return f"{amount(len(self.unknown), 'tensor')} are no part of a known layer, such as {printable(self.unknown[0], 80)}."


def read(weights: Weights, family: str = "") -> Network:
    """The network in an open file; "" stands for the family that its header shows, if it shows one.

    Raises:
        WeightsError: the file contains no module that can be computed, or an alpha that is no number.
    """
    found = of(weights.header, family)
    stated = Stated(weights.header)
    modules = [_with_alpha(module, weights, stated) for module in found.modules]
    return Network(found.header, found.family, modules, found.unknown)


def of(header: Header, family: str = "") -> Network:
    """The network with this header, without any number: no module has an alpha.

    Raises:
        WeightsError: the file contains no module that can be computed.
    """
    found, known = [], set[str]()
    for key, parts in layouts.modules(header.tensors).items():
        sizes = {name: len(header.tensors[name].shape) for name in parts.values()}
        layout = layouts.layout_of(parts, sizes)
        if layout in by_layout():
            module = Module(key, str(layout), parts, header)
            known |= set(parts.values()) | (set(module.pieces()) if layout == "oft_pieces" else set())
            found.append(module)
    if not found:
        raise WeightsError(
            f"{shown(header.path)} contains no network whose change can be computed.{_why(header)}",
            "Choose a LoRA or another network in safetensors.",
        )
    unknown = tuple(key for key in header.tensors if key not in known)
    return Network(header, family or detection.detect(header).base_family or "", found, unknown)


def _why(header: Header) -> str:
    """A sentence about what it contains instead; "" if that is not known."""
    seen = {
        layouts.layout_of(parts, {name: len(header.tensors[name].shape) for name in parts.values()})
        for parts in layouts.modules(header.tensors).values()
    }
    return next((f" {REFUSED[layout]}" for layout in seen if layout in REFUSED), "")


REFUSED: Mapping[str | None, str] = {
    "tlora": "It is a T-LoRA, whose file lacks the directions that it started from.",
    "oft_r": "It is an OFT of PEFT, whose file does not say which of PEFT's two formulas it was trained with.",
}


def _with_alpha(module: Module, weights: Weights, stated: Stated) -> Module:
    alpha = stated.alpha(module.key, module.rank)
    if "alpha" in module.parts:
        value = weights.floats(module.parts["alpha"]).reshape(-1)
        if value.size != 1 or not math.isfinite(float(value[0])):
            raise lacking(module.key, "has an alpha that is no number")
        alpha = float(value[0])
    return Module(module.key, module.layout, module.parts, module.header, alpha, weights)
