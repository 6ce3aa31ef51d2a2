"""Rules for what the GPU supports, and for what is moved to system RAM."""

from __future__ import annotations

from collections.abc import Iterator

from trainer_core.draft import prefill
from trainer_core.draft.checks.case import Case
from trainer_core.problems import Fix, Problem


def precision_suits_card(case: Case) -> Iterator[Problem]:
    """bf16 is used only on GPUs that compute it natively.

    Source: NVIDIA, CUDA C++ Programming Guide, table of throughputs: bf16 from compute capability 8.0 on. Older GPUs only
    emulate it, several times slower.
    """
    path, machine = "memory.mixed_precision", case.facts.machine
    if case.plan.memory.mixed_precision == "bf16" and prefill.precision(machine) == "fp16":
        message = f"{machine.accelerator.name} only emulates bf16, which is slow; it computes fp16 natively."
        possible = case.claim.cell(case.plan.model.method).precisions if case.claim else ()
        fix = Fix("Use fp16", {path: "fp16"}) if not possible or "fp16" in possible else None
        yield Problem(path, "warning", message if fix else f"{message} This engine trains only so.", fix)


def blocks_can_be_swapped(case: Case) -> Iterator[Problem]:
    """At most as many blocks are swapped as the engine allows for this model: some must stay on the GPU.

    An engine declares the maximum as `swap`, a table by variant; "" means all others.
    """
    wanted = case.plan.memory.blocks_to_swap
    most = case.claim.cell(case.plan.model.method).swap if case.claim else None
    if not wanted or not most:
        return
    detection = case.facts.detection
    limit = most.get(detection.variant if detection else "", most.get("", max(most.values())))
    if wanted > limit:
        fix = Fix(f"Swap {limit}", {"memory.blocks_to_swap": limit})
        yield Problem("memory.blocks_to_swap", "error", f"At most {limit} blocks of this model can be swapped.", fix)


def weights_suit_precision(case: Case) -> Iterator[Problem]:
    """The engine can convert weights of this dtype to 8 bits, and reads the weight variant of this diffusers folder."""
    detection, claim, memory = case.facts.detection, case.claim, case.plan.memory
    if detection is None or claim is None or case.backend is None:
        return
    cell, engine = claim.cell(case.plan.model.method), case.backend.manifest
    if memory.fp8_base and detection.dtype in cell.not_in_fp8:
        message = f"The weights in the file are {detection.dtype}, and {engine.title} stops if it keeps such a model in 8 bits."
        yield Problem("memory.fp8_base", "error", message, Fix("Turn it off", {"memory.fp8_base": False}))
    own = case.plan.native.get(engine.id, {})
    for name in cell.also_fp8 if detection.dtype in cell.not_in_fp8 else ():
        if own.get(name):
            message = f"The weights in the file are {detection.dtype}, and {engine.title} stops if {name} is set for such a file."
            yield Problem(f"native.{engine.id}.{name}", "error", message)
    eight_bits = engine.estimate.eight_bit_files if engine.estimate else ()
    for part, seen in case.facts.parts.items() if memory.fp8_base else ():
        stays = eight_bits is None or part in eight_bits
        if stays and not isinstance(seen, str) and seen.dtype in cell.not_in_fp8:
            message = f"The weights in this file are {seen.dtype}, and {engine.title} stops if it keeps such weights in 8 bits."
            yield Problem(f"model.{part}", "error", message, Fix("Turn off 8-bit weights", {"memory.fp8_base": False}))
    variant, read = detection.weight_variant, claim.weight_variants
    if not variant or read is None:
        return
    if variant not in read.get(memory.mixed_precision, ()):
        other = next((precision for precision, names in read.items() if variant in names), "")
        fix = Fix(f"Use precision {other}", {"memory.mixed_precision": other}) if other else None
        when = f" with precision {memory.mixed_precision}" if other else ""
        message = (
            f"The folder contains only the variant {variant} of some weights, which {engine.title} does not read{when}. "
            f"Download the files without this variant, or remove .{variant} from the file names."
        )
        yield Problem("model.path", "error", message, fix)


def weights_of_file_can_be_trained(case: Case) -> Iterator[Problem]:
    """A model that the engine trains in the dtype of its file is not in fp16, and in 16 bits only with mixed precision.

    Source: torch: GradScaler refuses to unscale gradients in fp16; without scaling they become zero, and the weights NaN; a layer
    in 16 bits does not take inputs in 32 bits.
    """
    memory, detection = case.plan.memory, case.facts.detection
    cell = case.claim.cell(case.plan.model.method) if case.claim else None
    if cell is None or cell.trained_dtype != "file" or memory.half_weights or detection is None:
        return
    wrong = {"F16": ("no", "fp16", "bf16"), "BF16": ("no",)}.get(detection.dtype, ())
    if memory.mixed_precision not in wrong:
        return
    changes = {"memory.mixed_precision": "bf16", "memory.half_weights": True}
    message = (
        f"The engine trains the weights in the dtype of the file, {detection.dtype}, which fails with this precision."
    )
    yield Problem("memory.half_weights", "error", message, Fix("Use bf16 for computations and weights", changes))
