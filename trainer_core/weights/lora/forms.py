"""What a conversion to another naming would make of a network, and which programs would load that. From the header alone.

The layers have any sizes, so that a network which is not trained yet can be asked about, too.
"""

from __future__ import annotations

from collections.abc import Mapping

from trainer_core.models import loaders
from trainer_core.models.detection.layouts import DORA
from trainer_core.models.header import Header, TensorInfo
from trainer_core.models.loaders import Answer
from trainer_core.weights.lora import naming, sides

AS_LORA: Mapping[str, bool] = {"lora": False, "loha": True, "lokr": True, "full": True}
"""The layouts that a conversion takes, and whether it must make plain LoRA layers of them for another naming."""
_RANK, _WIDTH = 4, 8


def answers(header: Header, family: str, to: str) -> tuple[Answer, ...]:
    """The answer of each program for the converted file; () if a layer of the network cannot be converted."""
    tensors: dict[str, TensorInfo] = {}
    for module in loaders.modules(header, family):
        if module.layout not in AS_LORA or DORA in module.keys or module.place is None:
            return ()
        pieces = sides.pieces(module.place, family, sides.preferred(to, family))
        names = [naming.name(to, family, piece.layer) for piece in pieces]
        if not names or not all(names):
            return ()
        for name in names:
            ends = naming.ENDINGS[to]
            tensors[name + ends.up] = TensorInfo("F16", (_WIDTH, _RANK))
            tensors[name + ends.down] = TensorInfo("F16", (_RANK, _WIDTH))
            if ends.has_alpha:
                tensors[f"{name}.alpha"] = TensorInfo("F32", ())
    return tuple(loaders.judge(Header(header.path, tensors, {}, header.format), family)) if tensors else ()


def is_made_plain(header: Header, family: str) -> bool:
    """Whether a conversion to another naming needs plain LoRA layers of another kind of network."""
    return any(AS_LORA.get(module.layout, False) for module in loaders.modules(header, family))
