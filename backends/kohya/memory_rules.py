"""Problems that sd-scripts would have with the precision and the memory settings of a plan."""

from __future__ import annotations

from collections.abc import Iterator

from backends.kohya import render
from backends.kohya.cell import KohyaCell
from backends.kohya.rules import has_gpu
from backends.kohya.translation import TRANSLATION, Algorithm
from trainer_core import catalog
from trainer_core.draft import prefill
from trainer_core.hardware import Machine
from trainer_core.plan.effect import no_effect
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Fix, Problem

PRECISION = "memory.mixed_precision"
PLAIN = Algorithm(module="", eight_bits="yes")
"""The algorithm of a plain LoRA: its module depends on the family, but never computes with the model's weights."""
FUSED = ("blockwise_fused_optimizers", "fused_optimizer_groups")
"""The native settings that also step the optimizer during the backward pass."""


def check(plan: TrainingPlan, machine: Machine, cell: KohyaCell) -> Iterator[Problem]:
    """The Problems of the memory section."""
    yield from _precision(plan, machine)
    yield from _eight_bits(plan, cell)
    yield from _half_weights(plan, cell)
    yield from _trained_weights(plan, machine, cell)
    yield from _moved_away(plan, cell)
    yield from _fused(plan, machine, cell)


def _precision(plan: TrainingPlan, machine: Machine) -> Iterator[Problem]:
    if plan.memory.mixed_precision == "fp16" and not has_gpu(machine):
        # Source: a run: "expected m1 and m2 to have the same dtype, but got: c10::Half != float".
        message = "fp16 does not work on a CPU, and no GPU was found."
        yield Problem(PRECISION, "error", message, Fix("Turn off mixed precision", {PRECISION: "no"}))
    elif plan.memory.mixed_precision == "bf16" and not has_gpu(machine):
        message = "No GPU was found. On most CPUs bf16 saves memory, but is slower than no."
        # A base model in 8 bits and weights in half precision need it.
        needed = plan.memory.fp8_base or plan.memory.half_weights
        fix = None if needed else Fix("Turn off mixed precision", {PRECISION: "no"})
        yield Problem(PRECISION, "info", message, fix)


def _eight_bits(plan: TrainingPlan, cell: KohyaCell) -> Iterator[Problem]:
    path, off = "memory.fp8_base", Fix("Do not use it", {"memory.fp8_base": False})
    if not plan.memory.fp8_base:
        return
    if not cell.fp8:
        # Source: its parsers all have fp8_base; the scripts of full finetuning, textual inversion and Anima do not use it.
        yield Problem(path, "error", "The engine ignores fp8 for this family and method.", off)
    elif plan.memory.mixed_precision == "no":
        # Source: train_network.py: "fp8_base requires mixed precision='fp16' or 'bf16'".
        message = "A base model in fp8 needs mixed precision: bf16 or fp16."
        yield Problem(path, "error", message, Fix("Use bf16", {PRECISION: "bf16"}))
    if cell.fp8 and (reason := not_in_eight_bits(plan, cell)):
        yield Problem(path, "error", reason, off)


def not_in_eight_bits(plan: TrainingPlan, cell: KohyaCell) -> str:
    """The sentence that says why the network cannot be trained on a base model in 8 bits; "" if it can.

    Source: a step of each module on a layer in float8 (docs/records/2026-11-29-rules.md): torch has no arithmetic in float8, and
    LyCORIS computes with the layer's own weights.
    """
    if plan.model.method != "lora":
        return ""
    works = TRANSLATION.algorithms.get(plan.network.algorithm, PLAIN).eight_bits
    title = catalog.algorithms()[plan.network.algorithm].title
    bypass = bypasses(plan)
    if works == "yes" or (bypass and works in ("bypass", "unscaled")):
        return ""
    if works == "later":
        return "" if cell.fp8_later else f"{title} trains the weights of the base model, so they cannot be in 8 bits."
    if works == "unscaled" and cell.fp8 != "fp8_scaled":
        return ""
    why = f"{title} computes with the weights of the base model, which fails in 8 bits."
    if works == "unscaled":
        why = (
            f"{title} ignores the scales of the base model's 8-bit weights, so the training would give a wrong result."
        )
    # With bypass_mode LyCORIS leaves out the weight decomposition.
    if works == "no" or plan.network.weight_decompose:
        return why
    return f'{why} It works with network_args = ["bypass_mode=true"] in [native.{render.ID}].'


def bypasses(plan: TrainingPlan) -> bool:
    """Whether a native setting makes LyCORIS add its output to that of the layer, instead of computing with the layer's weights."""
    given = render.native(plan).get("network_args", ())
    entries = given if isinstance(given, list | tuple) else ()  # another rule reports a value of another type
    pairs = (str(entry).partition("=") for entry in entries)
    values = [value for key, _, value in pairs if key.strip() == "bypass_mode"]
    return bool(values) and values[-1].strip().lower() == "true"


def _half_weights(plan: TrainingPlan, cell: KohyaCell) -> Iterator[Problem]:
    path, off = "memory.half_weights", Fix("Do not use it", {"memory.half_weights": False})
    if not plan.memory.half_weights:
        return
    known = cell.half_weights
    if not known:
        yield Problem(path, "error", "The engine keeps trained weights in full precision here.", off)
    elif plan.memory.mixed_precision == "no":
        # Source: prepare in the scripts: "full_bf16 requires mixed precision='bf16'".
        message = "Weights in half precision need mixed precision: bf16 or fp16."
        yield Problem(path, "error", message, Fix(f"Use {known[-1]}", {PRECISION: known[-1]}))
    elif plan.memory.mixed_precision not in known:
        message = f"Here the engine supports trained weights only in {' or '.join(known)}."
        yield Problem(path, "error", message, off)


def _trained_weights(plan: TrainingPlan, machine: Machine, cell: KohyaCell) -> Iterator[Problem]:
    """The Problems of a dtype of the trained weights that makes the training fail."""
    precision, half = plan.memory.mixed_precision, plan.memory.half_weights
    better = Fix("Use bf16", {PRECISION: "bf16"}) if prefill.precision(machine) == "bf16" else None
    if precision == "fp16" and half and cell.half_weights and plan.optimizer.name in TRANSLATION.not_in_fp16:
        message = f"With trained weights in fp16, some numbers in {plan.optimizer.name} become zero, and the weights become NaN."
        off = Fix("Turn off half-precision weights", {"memory.half_weights": False})
        is_sound = _trained_dtype(plan, cell) == "float32"
        yield Problem("memory.half_weights", "error", message, off if is_sound else better)
    if precision == "fp16" and not half and _trained_dtype(plan, cell) == "precision":
        # Source: torch, GradScaler: "Attempting to unscale FP16 gradients". With half_weights the engine patches it.
        message = "For this training, fp16 also keeps the trained weights in fp16, and torch refuses to unscale their gradients."
        yield Problem(PRECISION, "error", message, better or Fix("Turn off mixed precision", {PRECISION: "no"}))


def _trained_dtype(plan: TrainingPlan, cell: KohyaCell) -> str:
    """The dtype of the trained weights without `memory.half_weights`."""
    if plan.model.method == "lora":
        # Source: lycoris, modules/full.py: zeros_like(org_module.weight); all others create their own weights in 32 bits.
        return "precision" if plan.network.algorithm == "full" else "float32"
    return cell.trained_dtype


def _moved_away(plan: TrainingPlan, cell: KohyaCell) -> Iterator[Problem]:
    memory, path = plan.memory, "memory.offload_checkpointing"
    if not memory.offload_checkpointing or not cell.offload_checkpointing:
        return
    if memory.blocks_to_swap and not cell.swap_and_offload:
        # Source: assert_extra_args: "blocks_to_swap is not supported with cpu_offload_checkpointing".
        message = "The engine cannot swap blocks and offload activations at the same time."
        yield Problem(path, "error", message, Fix("Swap blocks only", {path: False}))
    elif not memory.gradient_checkpointing:
        fix = Fix("Turn on gradient checkpointing", {"memory.gradient_checkpointing": True})
        yield Problem(path, "error", "Activation offload needs gradient checkpointing.", fix)


def _fused(plan: TrainingPlan, machine: Machine, cell: KohyaCell) -> Iterator[Problem]:
    path, native = "memory.fused_backward", render.native(plan)
    is_fp16 = plan.memory.mixed_precision == "fp16"
    for name in FUSED:
        if native.get(name) and is_fp16 and plan.optimizer.max_grad_norm:
            # Source: torch, GradScaler: "unscale_() has already been called on this optimizer": once for each parameter.
            message = (
                f"{name} cannot be used with fp16 and gradient clipping. Use bf16, or set optimizer.max_grad_norm to 0."
            )
            yield Problem(f"native.{render.ID}.{name}", "error", message)
    if not plan.memory.fused_backward:
        return
    if not cell.fused:
        yield no_effect(path, "the engine supports it only for full finetuning of SDXL and newer models.")
        return
    # Source: library/train_util.py, get_optimizer: "fused_backward_pass currently only works with optimizer_type Adafactor".
    if plan.optimizer.name != "Adafactor":
        message = "The fused backward pass works with Adafactor only."
        yield Problem(path, "error", message, Fix("Use Adafactor", {"optimizer.name": "Adafactor"}))
    if plan.schedule.gradient_accumulation > 1:
        message = "The fused backward pass does not support gradient accumulation."
        fix = Fix("Use 1", {"schedule.gradient_accumulation": 1})
        yield Problem("schedule.gradient_accumulation", "error", message, fix)
    if is_fp16:
        # Source: each script: the hook clips each gradient, which unscales it again: "unscale_() has already been called". Without
        # clipping it uses gradients that are still scaled, and the scale never falls after an overflow.
        message = "The fused backward pass does not support fp16."
        fix = Fix("Use bf16", {PRECISION: "bf16"}) if prefill.precision(machine) == "bf16" else None
        yield Problem(path, "error", message, fix or Fix("Turn it off", {path: False}))
