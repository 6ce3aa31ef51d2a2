"""Reads raw loss and learning rate from an engine's TensorBoard event files while they grow."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer_core.engines.seam import Metrics
from trainer_core.events import Validation
from trainer_core.training.steps import StepLedger

_PATTERN = "events.out.tfevents.*"


class TensorboardRecord:
    """Notes new entries of the event files below a folder in a ledger.

    The library that reads them is imported with the first file, because it needs most of the supervisor's memory.
    """

    def __init__(self, metrics: Metrics, ledger: StepLedger) -> None:
        self._folder = metrics.folder
        self._loss = metrics.loss
        self._validation = frozenset(metrics.validation)
        self._rates = {tag: rank for rank, tag in enumerate(metrics.learning_rates)}
        self._ledger = ledger
        self._loaders: dict[Path, Any] = {}
        self._best: tuple[int, int] = (0, 0)
        self._losses: list[float] = []
        self._loss_step = ledger.given
        self._last_step = ledger.given
        self._validated: list[Validation] = []

    def read(self) -> bool:
        """Notes new entries; returns whether there were any."""
        grown = False
        for loader in self._open():
            for event in loader.Load():
                for value in event.summary.value:
                    grown |= self._note(event.step, value.tag, _number(value))
        return grown

    def validations(self) -> list[Validation]:
        """The validation losses that were read since the last call."""
        found, self._validated = self._validated, []
        return found

    def _open(self) -> Iterator[Any]:
        if self._folder is None or not self._folder.is_dir():
            return
        for path in sorted(self._folder.rglob(_PATTERN)):
            if path not in self._loaders:
                self._loaders[path] = _loader(path)
            yield self._loaders[path]

    def _note(self, step: int, tag: str, number: float | None) -> bool:
        if number is None:
            return False
        if tag == self._loss:
            self._last_step = step
            self._note_loss(step, number)
        elif tag in self._validation:
            # An entry may count epochs, so it belongs to the step whose loss was written before it.
            if math.isfinite(number):
                self._validated.append(Validation(self._last_step, number))
        elif tag in self._rates:
            # Several tags may have the learning rate of a step, and the best tag does not always come last.
            rank = self._rates[tag]
            at, best = self._best
            if at != step or rank <= best:
                self._best = (step, rank)
                self._ledger.note(step, learning_rate=number)
        else:
            return False
        return True

    def _note_loss(self, step: int, loss: float) -> None:
        """Notes the mean over the batches of a step.

        With gradient accumulation only the last batch of a step is recorded with its number, the others with the number
        of the previous step. Source: sd-scripts, train_network.py: step_logging runs for each batch.
        """
        self._losses.append(loss)
        if step > self._loss_step:
            mean = sum(self._losses) / len(self._losses)
            self._ledger.note(step, loss=float(f"{mean:.7g}"))
            self._losses, self._loss_step = [], step


def _loader(path: Path) -> Any:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    # It logs a message each time it reaches the end of a file that is still being written.
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    return LegacyEventFileLoader(str(path))


def _number(value: Any) -> float | None:
    """The number in an entry, in either of the two formats of entries.

    It was stored as float32, so it is rounded to seven significant digits.
    """
    if value.WhichOneof("value") == "simple_value":
        return float(f"{value.simple_value:.7g}")
    if value.WhichOneof("value") == "tensor" and len(value.tensor.float_val) == 1:
        return float(f"{value.tensor.float_val[0]:.7g}")
    return None
