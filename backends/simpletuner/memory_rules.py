"""Problems that SimpleTuner would have with the precision and the memory settings of a plan."""

from __future__ import annotations

from collections.abc import Iterator

from backends.simpletuner.cell import SimpleTunerCell
from backends.simpletuner.optimizer import RELEASING
from trainer_core.engines.manifest import BackendManifest
from trainer_core.hardware import Machine
from trainer_core.plan.effect import no_effect
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

PRECISION = "memory.mixed_precision"


def check(
    plan: TrainingPlan, machine: Machine, installed: str, cell: SimpleTunerCell, manifest: BackendManifest
) -> Iterator[Problem]:
    """The Problems of the memory section."""
    kinds = {accelerator.kind for accelerator in machine.accelerators}
    yield from _precision(plan, gpu=bool(kinds - {"cpu"}))
    yield from _half_weights(plan)
    yield from _eight_bits(plan, installed)
    yield from _moved_away(plan, kinds, cell)
    yield from _fused(plan, manifest)
    if not plan.memory.cache_text_encoder:
        fix = Fix("Turn it on", {"memory.cache_text_encoder": True})
        message = "SimpleTuner always encodes captions once at the start and caches them."
        yield Problem("memory.cache_text_encoder", "info", message, fix)


def _precision(plan: TrainingPlan, *, gpu: bool) -> Iterator[Problem]:
    if plan.memory.mixed_precision == "fp16":
        # Source: helpers/configuration/cmd_args.py: trained weights are fp16, too, and their gradients cannot be scaled.
        better = "bf16" if gpu else "no"
        message = "With fp16 SimpleTuner also keeps the trained weights in fp16, and training fails."
        yield Problem(PRECISION, "error", message, Fix(f"Use {better}", {PRECISION: better}))


def _half_weights(plan: TrainingPlan) -> Iterator[Problem]:
    """Source: cmd_args.py, weight_dtype: trained weights have the dtype of the computation."""
    path, half = "memory.half_weights", plan.memory.mixed_precision != "no"
    if half and not plan.memory.half_weights:
        message = f"SimpleTuner also keeps the trained weights in {plan.memory.mixed_precision}."
        yield Problem(path, "info", message, Fix("Turn it on", {path: True}))
    elif plan.memory.half_weights and not half:
        message = "Without mixed precision SimpleTuner keeps the trained weights in 32 bits."
        yield Problem(path, "warning", message, Fix("Use bf16", {PRECISION: "bf16"}))


def _eight_bits(plan: TrainingPlan, installed: str) -> Iterator[Problem]:
    path, off = "memory.fp8_base", Fix("Do not use it", {"memory.fp8_base": False})
    if not plan.memory.fp8_base:
        return
    if plan.model.method != "lora":
        # Source: cmd_args.py, is_quantized: full finetuning does not quantize the model.
        yield Problem(path, "error", "With full finetuning the model cannot be kept in 8 bits.", off)
    elif installed.startswith("3."):
        yield Problem(path, "error", "Easel has not been tested with 8-bit weights in SimpleTuner 3.", off)
    elif plan.network.algorithm != "lora":
        message = "Easel has been tested with an 8-bit base model only for a plain LoRA."
        yield Problem(path, "error", message, off)


def _moved_away(plan: TrainingPlan, kinds: set[str], cell: SimpleTunerCell) -> Iterator[Problem]:
    memory, path = plan.memory, "memory.offload_checkpointing"
    if memory.blocks_to_swap and cell.swap and not kinds - {"cpu"}:
        yield no_effect("memory.blocks_to_swap", "there is no GPU to swap them from.")
    if not memory.offload_checkpointing or not cell.offload_checkpointing:
        return
    if "cuda" not in kinds:
        # Source: apply_gradient_checkpointing_settings: "requires CUDA, falling back to torch".
        yield no_effect(path, "it needs an NVIDIA GPU.")
    elif not memory.gradient_checkpointing:
        fix = Fix("Turn on gradient checkpointing", {"memory.gradient_checkpointing": True})
        yield Problem(path, "error", "Activation offload needs gradient checkpointing.", fix)


def _fused(plan: TrainingPlan, manifest: BackendManifest) -> Iterator[Problem]:
    """Source: trainer.py, init_optimizer and the step: gradients are freed before they could be clipped or accumulated."""
    if not plan.memory.fused_backward:
        return
    if plan.model.method != "full":
        yield no_effect("memory.fused_backward", "it works only with full finetuning.")
        return
    if not manifest.optimizers.get(plan.optimizer.name, "").startswith(RELEASING):
        known = sorted(name for name, spelled in manifest.optimizers.items() if spelled.startswith(RELEASING))
        message = f"The fused backward pass works with {', '.join(known)} only."
        yield Problem("memory.fused_backward", "error", message, Fix("Use AdamW", {"optimizer.name": "AdamW"}))
    if plan.optimizer.max_grad_norm:
        message = "The fused backward pass does not support gradient clipping."
        fix = Fix("Do not clip", {"optimizer.max_grad_norm": 0.0})
        yield Problem("optimizer.max_grad_norm", "error", message, fix)
    if plan.schedule.gradient_accumulation > 1:
        message = "The fused backward pass does not support gradient accumulation."
        fix = Fix("Use 1", {"schedule.gradient_accumulation": 1})
        yield Problem("schedule.gradient_accumulation", "error", message, fix)
