"""What SimpleTuner would stumble over in precision and in what is traded for memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backends.simpletuner.descent import RELEASING
from backends.simpletuner.rules import no_effect
from trainer_core.backend import BackendManifest
from trainer_core.hardware import Machine
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

PRECISION = "memory.mixed_precision"


def check(
    plan: TrainingPlan, machine: Machine, installed: str, cell: Mapping[str, Any], manifest: BackendManifest
) -> Iterator[Problem]:
    """The Problems of the memory section."""
    kinds = {accelerator.kind for accelerator in machine.accelerators}
    yield from _precision(plan, gpu=bool(kinds - {"cpu"}))
    yield from _half_weights(plan)
    yield from _eight_bits(plan, installed)
    yield from _moved_away(plan, kinds, cell)
    yield from _fused(plan, manifest)
    if not plan.memory.cache_text_encoder:
        fix = Fix("Show it as on", {"memory.cache_text_encoder": True})
        message = "SimpleTuner always encodes captions once at the start."
        yield Problem("memory.cache_text_encoder", "info", message, fix)


def _precision(plan: TrainingPlan, *, gpu: bool) -> Iterator[Problem]:
    if plan.memory.mixed_precision == "fp16":
        # Source: helpers/configuration/cmd_args.py makes what is trained itself fp16, whose gradients cannot be scaled.
        better = "bf16" if gpu else "no"
        message = "With fp16 SimpleTuner keeps what is trained itself in fp16, and training breaks down."
        yield Problem(PRECISION, "error", message, Fix(f"Use {better}", {PRECISION: better}))


def _half_weights(plan: TrainingPlan) -> Iterator[Problem]:
    """Source: cmd_args.py, weight_dtype: what is trained has the numbers of the computation."""
    path, half = "memory.half_weights", plan.memory.mixed_precision != "no"
    if half and not plan.memory.half_weights:
        message = f"SimpleTuner holds what is trained in {plan.memory.mixed_precision} too."
        yield Problem(path, "info", message, Fix("Show it as on", {path: True}))
    elif plan.memory.half_weights and not half:
        message = "Without a half precision to compute in, SimpleTuner holds what is trained in 32 bits."
        yield Problem(path, "warning", message, Fix("Compute in bf16", {PRECISION: "bf16"}))


def _eight_bits(plan: TrainingPlan, installed: str) -> Iterator[Problem]:
    path, off = "memory.fp8_base", Fix("Do not use it", {"memory.fp8_base": False})
    if not plan.memory.fp8_base:
        return
    if plan.model.method != "lora":
        # Source: cmd_args.py, is_quantized: the base model stays as it is when it is not trained beside.
        yield Problem(path, "error", "A model that is trained itself cannot be held in 8 bits.", off)
    elif installed.startswith("3."):
        yield Problem(path, "error", "SimpleTuner 3 has no 8 bits that Easel was tried with.", off)
    elif plan.network.algorithm != "lora":
        message = "Easel was tried with a base model in 8 bits under a plain LoRA only."
        yield Problem(path, "error", message, off)


def _moved_away(plan: TrainingPlan, kinds: set[str], cell: Mapping[str, Any]) -> Iterator[Problem]:
    memory, path = plan.memory, "memory.offload_checkpointing"
    if memory.blocks_to_swap and "swap" not in cell:
        # Source: helpers/models/<family>/model.py: of these only FLUX.1 hands the number on to its model.
        yield no_effect("memory.blocks_to_swap", "the engine cannot swap the blocks of this model.")
    elif memory.blocks_to_swap and not kinds - {"cpu"}:
        yield no_effect("memory.blocks_to_swap", "there is no GPU to swap them from.")
    if not memory.offload_checkpointing:
        return
    if not cell.get("offload_checkpointing"):
        # Source: transformer.py of each family, set_gradient_checkpointing_backend.
        yield no_effect(path, "the engine cannot do it with this model.")
    elif "cuda" not in kinds:
        # Source: apply_gradient_checkpointing_settings: "requires CUDA, falling back to torch".
        yield no_effect(path, "it needs an NVIDIA GPU.")
    elif not memory.gradient_checkpointing:
        fix = Fix("Checkpoint gradients", {"memory.gradient_checkpointing": True})
        yield Problem(path, "error", "There is nothing to offload without gradient checkpointing.", fix)


def _fused(plan: TrainingPlan, manifest: BackendManifest) -> Iterator[Problem]:
    """Source: trainer.py, init_optimizer and the step: gradients are gone before they could be cut or added up."""
    if not plan.memory.fused_backward:
        return
    if plan.model.method != "full":
        yield no_effect("memory.fused_backward", "it is for full finetuning.")
        return
    if not manifest.optimizers.get(plan.optimizer.name, "").startswith(RELEASING):
        known = sorted(name for name, spelled in manifest.optimizers.items() if spelled.startswith(RELEASING))
        message = f"The fused backward pass works with {', '.join(known)} only."
        yield Problem("memory.fused_backward", "error", message, Fix("Use AdamW", {"optimizer.name": "AdamW"}))
    if plan.optimizer.max_grad_norm:
        message = "With the fused backward pass gradients cannot be clipped."
        fix = Fix("Do not clip", {"optimizer.max_grad_norm": 0.0})
        yield Problem("optimizer.max_grad_norm", "error", message, fix)
    if plan.schedule.gradient_accumulation > 1:
        message = "The fused backward pass cannot add up gradients."
        fix = Fix("Add up none", {"schedule.gradient_accumulation": 1})
        yield Problem("schedule.gradient_accumulation", "error", message, fix)
