"""The loops of a workflow: after which steps it makes samples and saves checkpoints, as settings of a plan."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from trainer_core.remote.training import checking
from trainer_core.text import printable

LOOP, BOTH = "FluxTrainLoop", "FluxTrainAndValidateLoop"
SAMPLES, SAVES = "FluxTrainValidate", "FluxTrainSave"
_SHOWN = 5


def every(workflow: Mapping[str, Any], used: Sequence[str], total: int, refused: list[str]) -> dict[str, int]:
    """Every how many steps samples are made and checkpoints saved, by setting. What cannot be done is added to `refused`."""
    of = {
        kind: [name for name in used if workflow[name]["class_type"] == kind] for kind in (LOOP, BOTH, SAMPLES, SAVES)
    }
    linked = [name for name in of[LOOP] if not isinstance(workflow[name]["inputs"]["steps"], int)]
    refused += [
        f"Node {printable(name, 40)} ({LOOP}): steps comes from another node, and a worker needs the value itself."
        for name in linked
    ]
    if of[LOOP] and of[BOTH]:
        refused.append(
            f"Node {printable(of[BOTH][0], 40)} ({BOTH}) trains all steps, so there can be no {LOOP} beside it."
        )
    if not of[LOOP] and not of[BOTH]:
        refused.append(f"There is no {LOOP} and no {BOTH}, so nothing would be trained.")
    if linked or of[BOTH] or not of[LOOP]:
        return {}
    samples, saves = (_positions(workflow, of[LOOP], of[kind]) for kind in (SAMPLES, SAVES))
    return {
        "sampling.every_steps": _distance(samples, total, SAMPLES, of[SAMPLES], refused, at_end=True),
        # The end of the training is saved in any case.
        "output.save_every_steps": _distance(saves - {total}, total, SAVES, of[SAVES], refused, at_end=False),
    }


def _positions(workflow: Mapping[str, Any], loops: Collection[str], names: Sequence[str]) -> set[int]:
    """After how many steps each of these nodes does its work; those before the first loop do it before the first step."""
    above = {name: checking.above(workflow, name) for name in names}
    steps = {name: sum(workflow[loop]["inputs"]["steps"] for loop in loops if loop in above[name]) for name in names}
    return {position for position in steps.values() if position}


def _distance(
    positions: set[int], total: int, kind: str, names: Sequence[str], refused: list[str], *, at_end: bool
) -> int:
    """The distance of equally distant positions; 0 without any."""
    if not positions:
        return 0
    first = min(positions)
    equal = set(range(first, total + at_end, first))
    if positions not in (equal, equal - {total}):
        shown = ", ".join(map(str, sorted(positions)[:_SHOWN]))
        refused.append(
            f"Node {printable(names[0], 40)} ({kind}): its work comes after steps {shown}, and the distances must be equal."
        )
    return first
