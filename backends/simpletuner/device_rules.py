"""Problems that SimpleTuner would have on the GPU of an Apple computer. Not run on this hardware yet: they are from the engine's source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backends.simpletuner import render
from trainer_core.hardware import Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

MOST_IMAGES = 16
"""Source: helpers/configuration/platform_validation.py, validate_mps_train_batch_size: more is refused, and 12 recommended."""
RECOMMENDED_IMAGES = 12


def check(plan: TrainingPlan, machine: Machine, native: Mapping[str, Any]) -> Iterator[Problem]:
    """The Problems of this machine's accelerators."""
    kinds = {accelerator.kind for accelerator in machine.accelerators}
    if native.get("ramtorch") and not kinds & {"cuda", "rocm"}:
        # Source: helpers/configuration/cmd_args.py: "--ramtorch requires a CUDA or ROCm device."
        yield Problem(f"native.{render.ID}.ramtorch", "error", "ramtorch needs an NVIDIA or AMD GPU.")
    if "mps" not in kinds:
        return
    if plan.schedule.batch_size > MOST_IMAGES:
        message = f"On an Apple GPU SimpleTuner refuses a batch of more than {MOST_IMAGES} images."
        fix = Fix(f"Use {RECOMMENDED_IMAGES}", {"schedule.batch_size": RECOMMENDED_IMAGES})
        yield Problem("schedule.batch_size", "error", message, fix)
    if plan.memory.fp8_base:
        # Source: pytorch issue 148420, open: "Trying to convert Float8_e4m3fn to the MPS backend".
        message = "PyTorch has no 8-bit floats on Apple GPUs."
        yield Problem("memory.fp8_base", "error", message, Fix("Do not use it", {"memory.fp8_base": False}))
    if native.get("lora_init_type") == "loftq":
        # Source: cmd_args.py: "Apple MPS cannot make use of LoftQ initialisation. Overriding to 'default'."
        message = "On an Apple GPU SimpleTuner replaces loftq by the usual start values of a LoRA."
        yield Problem(f"native.{render.ID}.lora_init_type", "error", message)
