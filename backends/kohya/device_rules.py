"""Problems that sd-scripts would have on Apple and Intel GPUs. Not run on this hardware yet: they are from the engine's source."""

from __future__ import annotations

from collections.abc import Iterator

from backends.kohya.cell import KohyaCell
from trainer_core.hardware import Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

OTHERS = {"mps": "Apple", "xpu": "Intel"}


def check(plan: TrainingPlan, machine: Machine, cell: KohyaCell) -> Iterator[Problem]:
    """The Problems of this machine's accelerators."""
    kinds = {accelerator.kind for accelerator in machine.accelerators}
    name = next((title for kind, title in OTHERS.items() if kind in kinds), "")
    if not name or kinds & {"cuda", "rocm"}:
        return
    if plan.memory.blocks_to_swap and cell.swap:
        # Source: library/custom_offloading_utils.py, swap_weight_devices_no_cuda: "not tested".
        message = f"The authors of sd-scripts have not tested block swap on {name} GPUs."
        yield Problem("memory.blocks_to_swap", "warning", message, Fix("Do not swap", {"memory.blocks_to_swap": 0}))
    if "mps" in kinds and plan.memory.fp8_base and cell.fp8:
        # Source: pytorch issue 148420, open: "Trying to convert Float8_e4m3fn to the MPS backend".
        message = "PyTorch has no 8-bit floats on Apple GPUs."
        yield Problem("memory.fp8_base", "error", message, Fix("Do not use it", {"memory.fp8_base": False}))
