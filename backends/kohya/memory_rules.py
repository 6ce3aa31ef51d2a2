"""What sd-scripts would stumble over in precision and in what is traded for memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backends.kohya.rules import has_gpu, no_effect
from trainer_core.hardware import Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

PRECISION = "memory.mixed_precision"


def check(plan: TrainingPlan, machine: Machine, cell: Mapping[str, Any]) -> Iterator[Problem]:
    """The Problems of the memory section."""
    yield from _precision(plan, machine)
    yield from _eight_bits(plan, cell)
    yield from _half_weights(plan, cell)
    yield from _moved_away(plan, cell)
    yield from _fused(plan, cell)


def _precision(plan: TrainingPlan, machine: Machine) -> Iterator[Problem]:
    if plan.memory.mixed_precision == "fp16" and not has_gpu(machine):
        # Source: a run: "expected m1 and m2 to have the same dtype, but got: c10::Half != float".
        message = "fp16 does not work on a CPU, and no GPU was found."
        yield Problem(PRECISION, "error", message, Fix("Use no", {PRECISION: "no"}))
    elif plan.memory.mixed_precision == "bf16" and not has_gpu(machine):
        message = "No GPU was found. On a CPU bf16 saves memory, but is slower than no on most."
        yield Problem(PRECISION, "info", message, Fix("Use no", {PRECISION: "no"}))


def _eight_bits(plan: TrainingPlan, cell: Mapping[str, Any]) -> Iterator[Problem]:
    path, off = "memory.fp8_base", Fix("Do not use it", {"memory.fp8_base": False})
    if not plan.memory.fp8_base:
        return
    if "fp8" not in cell:
        # Source: its parsers all have fp8_base; the scripts of full finetuning, textual inversion and Anima do not use it.
        yield Problem(path, "error", "The engine accepts fp8 here and does nothing with it.", off)
    elif plan.memory.mixed_precision == "no":
        # Source: train_network.py: "fp8_base requires mixed precision='fp16' or 'bf16'".
        message = "A base model in fp8 needs bf16 or fp16 to compute in."
        yield Problem(path, "error", message, Fix("Compute in bf16", {PRECISION: "bf16"}))


def _half_weights(plan: TrainingPlan, cell: Mapping[str, Any]) -> Iterator[Problem]:
    path, off = "memory.half_weights", Fix("Do not use it", {"memory.half_weights": False})
    if not plan.memory.half_weights:
        return
    known = cell.get("half_weights", ["fp16", "bf16"])
    if not known:
        yield Problem(path, "error", "The engine holds what is trained in full precision here.", off)
    elif plan.memory.mixed_precision == "no":
        # Source: prepare in the scripts: "full_bf16 requires mixed precision='bf16'".
        message = "Weights in half precision need bf16 or fp16 to compute in."
        yield Problem(path, "error", message, Fix(f"Compute in {known[-1]}", {PRECISION: known[-1]}))
    elif plan.memory.mixed_precision not in known:
        message = f"The engine holds weights in {' or '.join(known)} only here."
        yield Problem(path, "error", message, off)


def _moved_away(plan: TrainingPlan, cell: Mapping[str, Any]) -> Iterator[Problem]:
    memory, path = plan.memory, "memory.offload_checkpointing"
    if memory.blocks_to_swap and "swap" not in cell:
        yield no_effect("memory.blocks_to_swap", "the engine cannot swap the blocks of this model.")
    if not memory.offload_checkpointing:
        return
    if not cell.get("offload_checkpointing"):
        yield no_effect(path, "the engine cannot do it with this model.")
    elif memory.blocks_to_swap and not cell.get("swap_and_offload"):
        # Source: assert_extra_args: "blocks_to_swap is not supported with cpu_offload_checkpointing".
        message = "The engine stops when blocks are swapped and checkpoints offloaded at once."
        yield Problem(path, "error", message, Fix("Swap blocks only", {path: False}))
    elif not memory.gradient_checkpointing:
        fix = Fix("Checkpoint gradients", {"memory.gradient_checkpointing": True})
        yield Problem(path, "error", "There is nothing to offload without gradient checkpointing.", fix)


def _fused(plan: TrainingPlan, cell: Mapping[str, Any]) -> Iterator[Problem]:
    path = "memory.fused_backward"
    if not plan.memory.fused_backward:
        return
    if "fused" not in cell:
        yield no_effect(path, "the engine has it for the full finetuning of SDXL and newer models only.")
        return
    # Source: library/train_util.py, get_optimizer: "fused_backward_pass currently only works with optimizer_type Adafactor".
    if plan.optimizer.name != "Adafactor":
        message = "The fused backward pass works with Adafactor only."
        yield Problem(path, "error", message, Fix("Use Adafactor", {"optimizer.name": "Adafactor"}))
    if plan.schedule.gradient_accumulation > 1:
        message = "The fused backward pass cannot add up gradients."
        fix = Fix("Add up none", {"schedule.gradient_accumulation": 1})
        yield Problem("schedule.gradient_accumulation", "error", message, fix)
