"""Problems that musubi-tuner would have with the precision and the memory settings of a plan."""

from __future__ import annotations

from collections.abc import Iterator

from backends.musubi.cell import MusubiCell
from trainer_core import catalog
from trainer_core.hardware import Machine
from trainer_core.plan.effect import no_effect
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

PRECISION = "memory.mixed_precision"
IN_8_BITS = ("lora",)
"""The algorithms that were trained on a model in 8 bits; the others compute with the weights of its layers."""


def check(plan: TrainingPlan, machine: Machine, cell: MusubiCell) -> Iterator[Problem]:
    """The Problems of the memory section."""
    kinds = {accelerator.kind for accelerator in machine.accelerators}
    yield from _precision(plan, cell)
    yield from _eight_bits(plan)
    yield from _moved_away(plan, kinds, cell)
    memory = plan.memory
    if memory.half_weights:
        # Source: training/trainer_base.py, _prepare_with_accelerator: "temporary disabled".
        yield no_effect("memory.half_weights", "the engine always keeps the trained weights in 32 bits.")
    if memory.fused_backward:
        yield no_effect("memory.fused_backward", "it works only with full finetuning.")
    for name, what in (("cache_latents", "images"), ("cache_text_encoder", "captions")):
        if not getattr(memory, name):
            fix = Fix("Turn it on", {f"memory.{name}": True})
            yield Problem(
                f"memory.{name}", "info", f"musubi-tuner always encodes {what} once, before the training.", fix
            )


def _precision(plan: TrainingPlan, cell: MusubiCell) -> Iterator[Problem]:
    if plan.memory.mixed_precision not in cell.precisions:
        # Source: runs on a CPU with "no" and "fp16": "mat1 and mat2 must have the same dtype, but got Float and BFloat16".
        best = cell.precisions[0]
        message = f"The engine keeps this model in bf16, and stops at the first step with a mixed precision of {plan.memory.mixed_precision}."
        yield Problem(PRECISION, "error", message, Fix(f"Use {best}", {PRECISION: best}))


def _eight_bits(plan: TrainingPlan) -> Iterator[Problem]:
    if plan.memory.fp8_base and plan.network.algorithm not in IN_8_BITS:
        title = catalog.algorithms()[plan.network.algorithm].title
        message = f"Easel has trained {title} with this engine only on a base model in 16 bits."
        yield Problem("memory.fp8_base", "error", message, Fix("Do not use it", {"memory.fp8_base": False}))


def _moved_away(plan: TrainingPlan, kinds: set[str], cell: MusubiCell) -> Iterator[Problem]:
    memory, path = plan.memory, "memory.offload_checkpointing"
    if memory.blocks_to_swap and cell.swap and not kinds - {"cpu"}:
        yield no_effect("memory.blocks_to_swap", "there is no GPU to swap them from.")
    if memory.offload_checkpointing and cell.offload_checkpointing and not memory.gradient_checkpointing:
        # Source: training/trainer_base.py, _build_network: it is passed to enable_gradient_checkpointing.
        fix = Fix("Turn on gradient checkpointing", {"memory.gradient_checkpointing": True})
        yield Problem(path, "error", "Activation offload needs gradient checkpointing.", fix)
