"""What a comparison of runs cannot say: sentences for whoever reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer_core.jobs.state import JobState
from trainer_core.training.history import PastRun

LOSS_SCALES = {
    "model.family": "model family",
    "model.prediction": "prediction",
    "dataset.resolution": "resolution",
    "schedule.batch_size": "batch size",
    "schedule.gradient_accumulation": "gradient accumulation",
    "schedule.min_snr_gamma": "weight of the steps in the loss (min-SNR gamma)",
    "schedule.noise_offset": "noise offset",
    "schedule.flow_shift": "flow shift",
}
"""Settings that change what a loss means: two runs that differ in one of them cannot be compared by it."""


def caveats(
    runs: Sequence[PastRun], differing: Sequence[str], has_other_images: bool, losses: Sequence[Any]
) -> tuple[str, ...]:
    """The sentences for runs that differ in these settings (by path); `losses` are their final ones, None if unknown."""
    scales = dict.fromkeys(LOSS_SCALES[path] for path in differing if path in LOSS_SCALES)
    found = [
        "The loss of one step says little, so the losses are smoothed, as in Watch: averages of about the last tenth of the steps."
    ]
    if scales:
        found.append(f"The losses cannot be compared with each other: the runs differ in {_listed(list(scales))}.")
    if has_other_images:
        found.append("The runs learned from different images or captions, so a difference may come from these.")
    if "sampling.seed" in differing or "schedule.seed" in differing:
        found.append("The seeds differ: a small difference may be chance.")
    if short := [_name(run) for run in runs if run.state is not JobState.COMPLETED]:
        found.append(f"Not finished: {_listed(short)}. The figures are those up to the last step.")
    if unknown := [_name(run) for run, loss in zip(runs, losses, strict=True) if loss is None]:
        found.append(f"No loss was recorded for {_listed(unknown)}.")
    return tuple(found)


def _name(run: PastRun) -> str:
    return run.labels.name or run.run


def _listed(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
