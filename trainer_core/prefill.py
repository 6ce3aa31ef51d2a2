"""Values that follow from the machine and the files, put between the profile's and the user's."""

from __future__ import annotations

from typing import Any

from trainer_core.hardware import Machine
from trainer_core.plan.facts import Facts

REASONS = {"memory.mixed_precision": "the number format it computes fastest in without losing training."}
"""Why the machine's values are what they are, by dotted path."""


def values(facts: Facts) -> dict[str, Any]:
    """The prefilled values for these facts, by dotted path."""
    return {"memory.mixed_precision": precision(facts.machine)}


def precision(machine: Machine) -> str:
    """The number format the first accelerator computes fastest without losing training: bf16, fp16 or no.

    Source: NVIDIA cards compute bf16 natively from compute capability 8.0 (RTX 30, A100) on; older ones only emulate
    it. On AMD the number is no CUDA capability, and ROCm's supported cards all have bf16. Half precision on a CPU
    fails in sd-scripts.
    """
    accelerator = next((found for found in machine.accelerators if found.kind != "cpu"), None)
    if accelerator is None:
        return "no"
    if accelerator.kind == "cuda":
        major = str(accelerator.architecture or "").partition(".")[0]
        return "bf16" if major.isdigit() and int(major) >= 8 else "fp16"
    return "bf16" if accelerator.kind in ("rocm", "xpu") else "no"
