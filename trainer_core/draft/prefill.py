"""Values that depend on the machine: they override the profile's, and the user's values override them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer_core.draft.facts import Facts
from trainer_core.hardware import Machine

REASONS = {
    "memory.mixed_precision": "the fastest number format that is accurate enough for training, of those with which the engine trains."
}
"""The reasons of these values, by dotted path."""


def values(facts: Facts, precisions: Sequence[str] = ()) -> dict[str, Any]:
    """The prefilled values for these facts, by dotted path; `precisions` are those with which the engine trains, empty: all."""
    best = precision(facts.machine)
    return {"memory.mixed_precision": precisions[0] if precisions and best not in precisions else best}


def precision(machine: Machine) -> str:
    """The fastest number format of the first accelerator that is accurate enough for training: bf16, fp16 or no.

    Source: NVIDIA GPUs compute bf16 natively from compute capability 8.0 (RTX 30, A100) on; older ones only emulate
    it. For AMD GPUs, the number is not a CUDA capability, and all GPUs that ROCm supports have bf16. Half precision on a
    CPU fails in sd-scripts.
    """
    accelerator = next((found for found in machine.accelerators if found.kind != "cpu"), None)
    if accelerator is None:
        return "no"
    if accelerator.kind == "cuda":
        major = str(accelerator.architecture or "").partition(".")[0]
        return "bf16" if major.isdigit() and int(major) >= 8 else "fp16"
    return "bf16" if accelerator.kind in ("rocm", "xpu") else "no"
