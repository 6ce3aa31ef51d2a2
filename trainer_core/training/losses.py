"""The smoothed loss of a run, from its recorded steps: at the end, at its lowest, as a curve; and the speed of the run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trainer_core import events
from trainer_core.files import open_own
from trainer_core.jobs.smoothing import smoothed
from trainer_core.training.run import Run

EARLY, EARLY_SHARE = 50, 0.1
"""At the start the smoothed loss is not yet an average of many, so the lowest is not looked for in so many steps, or this share."""


def curve(run: Run, most: int = 600) -> list[tuple[int, float]]:
    """(step, smoothed loss) of a run for a chart, at up to `most` places."""
    found = _losses({row["step"]: row for row in _step_rows(run)})
    means = list(smoothed(loss for _, loss in found))
    every = max(1, -(-len(means) // most))
    chosen = sorted({*range(0, len(means), every), len(means) - 1} - {-1})
    return [(found[place][0], _rounded(means[place])) for place in chosen]


@dataclass(frozen=True)
class Losses:
    """The smoothed loss of a run, and its speed; None if there are no figures."""

    steps: int = 0
    final: float | None = None
    best: float | None = None
    best_step: int | None = None
    steps_per_second: float | None = None

    @classmethod
    def of(cls, run: Run) -> Losses:
        """The losses in the events of a run, with the steps in their order."""
        steps = {row["step"]: row for row in _step_rows(run)}
        timed = [row for row in steps.values() if isinstance(row.get("time"), int | float)]
        losses = _losses(steps)
        means = list(smoothed(loss for _, loss in losses))
        early = min(EARLY, round(EARLY_SHARE * len(means)))
        best = min(range(early, len(means)), key=means.__getitem__) if means else None
        return cls(
            steps=max(steps, default=0),
            final=_rounded(means[-1]) if means else None,
            best=_rounded(means[best]) if best is not None else None,
            best_step=losses[best][0] if best is not None else None,
            steps_per_second=_speed(timed),
        )


def _step_rows(run: Run) -> Iterable[dict[str, Any]]:
    try:
        with open_own(run.folder.events) as file:
            for line in file:
                # Most lines of a long run are steps; the others need not be parsed.
                if b'"step"' in line:
                    yield from (
                        row
                        for row in events.read_lines(line)
                        if row.get("kind") == events.Step.kind and isinstance(row.get("step"), int)
                    )
    except OSError:
        return


def smoothed_loss(run: Run) -> float | None:
    """The smoothed loss at the end of a run, from its events; None if they have none."""
    return Losses.of(run).final


def _losses(steps: Mapping[int, Mapping[str, Any]]) -> list[tuple[int, float]]:
    """(step, loss) of each step that has a loss, in their order."""
    return [(step, steps[step]["loss"]) for step in sorted(steps) if _is_number(steps[step].get("loss"))]


def _speed(timed: list[dict[str, Any]]) -> float | None:
    """The steps per second from the first step to the last; what comes before the first is loading."""
    if len(timed) < 2 or (took := timed[-1]["time"] - timed[0]["time"]) <= 0:
        return None
    return _rounded((timed[-1]["step"] - timed[0]["step"]) / took)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
