"""How a trainer is started whose training loop has to be told at which step it continues: by `inside/resume.py`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer_core.engines.seam import ResumePoint

PROGRAM = Path(__file__).parent / "inside" / "resume.py"


def command(program: Sequence[str], loop: Path, point: ResumePoint | None) -> tuple[str, ...]:
    """A program of an engine with its arguments, as it is, or so that it continues; `loop` is the engine's own `loop.py`."""
    if point is None:
        return tuple(program)
    counted = ("--step", str(point.step), "--schedule-from", str(point.schedule_from))
    if point.rate_times != 1:
        counted += ("--rate-times", str(point.rate_times))
    script, *arguments = program
    return (str(PROGRAM), "--loop", str(loop), "--script", script, *counted, "--", *arguments)
