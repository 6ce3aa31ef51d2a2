"""Rules for what the card can do, and for what is moved off it."""

from __future__ import annotations

from collections.abc import Iterator

from trainer_core import prefill
from trainer_core.plan.rules.case import Case
from trainer_core.problems import Fix, Problem


def precision_suits_card(case: Case) -> Iterator[Problem]:
    """bf16 is left to cards that compute in it.

    Source: NVIDIA, CUDA C++ Programming Guide, table of throughputs: bf16 from compute capability 8.0 on. Older cards only
    imitate it, several times slower.
    """
    path, machine = "memory.mixed_precision", case.facts.machine
    if case.plan.memory.mixed_precision == "bf16" and prefill.precision(machine) == "fp16":
        message = f"{machine.accelerator.name} only imitates bf16, which is slow; fp16 is its own."
        yield Problem(path, "warning", message, Fix("Use fp16", {path: "fp16"}))


def blocks_can_be_swapped(case: Case) -> Iterator[Problem]:
    """No more blocks are swapped than the engine allows for this model: some must stay on the GPU.

    An engine declares the most as `swap`, a table by variant; "" stands for all others.
    """
    wanted = case.plan.memory.blocks_to_swap
    most = case.claim.cell(case.plan.model.method).get("swap") if case.claim else None
    if not wanted or not most:
        return
    detection = case.facts.detection
    limit = most.get(detection.variant if detection else "", most.get("", max(most.values())))
    if wanted > limit:
        fix = Fix(f"Swap {limit}", {"memory.blocks_to_swap": limit})
        yield Problem("memory.blocks_to_swap", "error", f"At most {limit} blocks of this model can be swapped.", fix)
