"""Which number of a module its change is proportional to, so that the change can be multiplied in the file."""

from __future__ import annotations

from collections.abc import Mapping

from trainer_core.errors import WeightsError
from trainer_core.models.detection.layouts import DORA, LAYOUTS
from trainer_core.text import printable
from trainer_core.weights.networks.modules import Module

BY_ALPHA = ("lora", "loha")
"""The layouts whose change alpha multiplies, whatever their form."""
# The part of each layout that its change is proportional to; the first one that a module has.
CARRIERS: Mapping[str, tuple[str, ...]] = {
    "lora": ("up",), "loha": ("hada_w1_a",), "lokr": ("lokr_w1", "lokr_w1_a"), "full": ("diff",), "norm": ("w_norm",), "ia3": ("weight",),
}  # fmt: skip


def check(module: Module, times: float) -> None:
    """Checks that the change of a module can be multiplied.

    Raises:
        WeightsError: it is not proportional to anything in the file.
    """
    if times in (0.0, 1.0) or (module.layout in CARRIERS and DORA not in module.parts):
        return
    title = "DoRA" if DORA in module.parts else LAYOUTS[module.layout].title
    raise WeightsError(
        f"The strength of a {title} cannot be changed in the file: its effect is not proportional to its numbers "
        f"(layer {printable(module.key, 80)}).",
        "Set the strength where you use it, or bake it into a checkpoint.",
    )
