"""What a run made: its checkpoints and its final result, each with its verdict, its validation loss and its samples.

Only what was recorded is read; nothing is tested. A run folder may come from anybody: a file outside of it is left out.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core import events, places
from trainer_core.errors import JobError
from trainer_core.files import open_own
from trainer_core.jobs.state import JobState
from trainer_core.training import artefacts, choice, use
from trainer_core.training.prompts import SamplePrompt, prompts_of
from trainer_core.training.run import Run
from trainer_core.training.use import Saved

VALIDATION = "validation"
"""The kind of the events with a validation loss."""
BEFORE = 0
"""The step of the samples that were made before the training."""


@dataclass(frozen=True)
class Made:
    """A checkpoint, or the final result (`is_final`): `saved` says whether it can be used and where it was delivered.

    `samples` are the images that were made at its step, by the index of their prompt.
    """

    saved: Saved
    is_final: bool = False
    is_best: bool = False
    validation: float | None = None
    samples: Mapping[int, Path] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """The step at which it was saved."""
        return self.saved.step

    def as_dict(self) -> dict[str, Any]:
        """The checkpoint as JSON data."""
        samples = {str(prompt): str(path) for prompt, path in self.samples.items()}
        more = {"final": self.is_final, "best": self.is_best, "validation_loss": self.validation, "samples": samples}
        return {**self.saved.as_dict(), **more}


@dataclass(frozen=True)
class Results:
    """The results of a run, by step, the final one last; `before` are the samples of the base model, by prompt."""

    made: tuple[Made, ...] = ()
    before: Mapping[int, Path] = field(default_factory=dict)
    prompts: tuple[SamplePrompt, ...] = ()
    rows: tuple[int, ...] = ()
    """The indices of the prompts that have samples."""
    others: Mapping[int, Mapping[int, Path]] = field(default_factory=dict)
    """The samples of steps without a checkpoint, by step and prompt."""

    @property
    def best(self) -> Made | None:
        """The one that the user marked as the best."""
        return next((one for one in self.made if one.is_best), None)

    @property
    def lowest(self) -> Made | None:
        """The one with the lowest validation loss; None if fewer than two have one."""
        known = [one for one in self.made if one.validation is not None]
        return min(known, key=lambda one: one.validation or 0.0) if len(known) > 1 else None

    @property
    def offered(self) -> Made | None:
        """The one to deliver if nobody says which: the best, else the final one, else the newest that can be used."""
        good = [one for one in self.made if one.saved.ok]
        return self.best or next((one for one in good if one.is_final), good[-1] if good else None)

    def of_step(self, step: int) -> Made | None:
        """The one of a step."""
        return next((one for one in self.made if one.step == step), None)


def results_of(run: Run) -> Results:
    """The results of a run, whatever state it is in.

    Raises:
        JobError: the spec.json of the run is damaged.
    """
    samples = samples_of(run)
    losses, best = validation_of(run), choice.read(run.folder).best
    every = [(one, False) for one in use.saved(run)]
    final = _final(run)
    if final is not None:
        # An engine may save a checkpoint at the last step, too.
        every = [(one, False) for one, _ in every if one.step != final.step or one.ok is False]
        every.append((final, True))
    made = tuple(
        Made(one, is_final, one.step == best, losses.get(one.step), samples.get(one.step, {}))
        for one, is_final in every
    )
    rows = tuple(sorted({row for of in samples.values() for row in of}))
    saved_at = {BEFORE, *(one.step for one in made)}
    others = {step: samples[step] for step in sorted(samples) if step not in saved_at}
    return Results(made, samples.get(BEFORE, {}), prompts_of(run), rows, others)


def samples_of(run: Run) -> dict[int, dict[int, Path]]:
    """The newest sample of each step and prompt."""
    folder = run.folder.path
    found: dict[int, dict[int, Path]] = {}
    for one in run.summary.samples:
        if (path := inside(folder, one.path)) is not None:
            found.setdefault(one.step, {})[one.prompt] = path
    return found


def inside(folder: Path, relative: str) -> Path | None:
    """The path of a file in a folder; None if it leads out of it."""
    path = folder / relative
    try:
        real = places.real(path)
        return path if real.is_relative_to(places.real(folder)) and not real.is_symlink() else None
    except (OSError, ValueError):
        return None


def validation_of(run: Run) -> dict[int, float]:
    """The validation loss by step, as far as the run recorded one."""
    found: dict[int, float] = {}
    with contextlib.suppress(OSError), open_own(run.folder.events) as file:
        for line in file:
            if b'"validation"' in line:
                for row in events.read_lines(line):
                    step, loss = events.whole(row.get("step")), events.real(row.get("loss"))
                    if row.get("kind") == VALIDATION and step is not None and loss is not None and math.isfinite(loss):
                        found[step] = loss
    return found


def _final(run: Run) -> Saved | None:
    """The final result of a run that is complete."""
    result = run.result or {}
    if run.state is not JobState.COMPLETED:
        return None
    try:
        rendered = run.folder.rendered
    except JobError:
        return None
    path = artefacts.final_file(run.folder.output, rendered.artefacts)
    if path is None:
        return None
    outputs = result.get("outputs")
    named = Path(str(outputs[0])) if isinstance(outputs, list) and outputs else None
    step = run.summary.last_step or run.summary.step or rendered.total_steps
    size = artefacts.size_of(path)
    return Saved(path, step, size[1] if size else 0, True, (), named if named and places.is_there(named) else None)
