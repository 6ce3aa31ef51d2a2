"""The runs of one subject as numbered versions: v1, v2 and so on, in the form of `training_versions.json`.

They are read from the run folders each time. Their numbers are in these folders, too (see `numbers`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import RunError
from trainer_core.jobs.state import JobState
from trainer_core.plan import fields
from trainer_core.plan.subject import same
from trainer_core.training import history, numbers
from trainer_core.training.folder import RunFolder
from trainer_core.training.history import PastRun

STATUS = {
    JobState.PREPARED: "pending",
    JobState.QUEUED: "pending",
    JobState.RUNNING: "training",
    JobState.STOPPING: "training",
    JobState.COMPLETED: "completed",
    JobState.CANCELLED: "cancelled",
}
"""The status of a version by the state of its run; all others are "failed"."""


def versions_of(subject: str, folder: Path | None = None) -> list[dict[str, Any]]:
    """The versions of a subject, the oldest first; a subject is a trigger word, the name of a dataset or that of a result."""
    asked = same(subject)
    known = history.history(folder)
    counted = numbered(known)
    runs = [run for run in reversed(known) if asked and asked in (same(run.subject), same(run.name))]
    runs.sort(key=lambda run: counted[run.run][1])
    return [_version(run, counted[run.run][1], folder or places.runs()) for run in runs]


def subjects(folder: Path | None = None) -> dict[str, int]:
    """The number of runs by subject, as the user wrote it last, in alphabetical order."""
    counts: dict[str, int] = {}
    written: dict[str, str] = {}
    for run in history.history(folder):
        key = same(run.subject) or same(run.name)
        written.setdefault(key, run.subject or run.name)
        counts[key] = counts.get(key, 0) + 1
    return {written[key]: counts[key] for key in sorted(counts) if key}


def numbered(runs: Iterable[PastRun]) -> dict[str, tuple[str, int]]:
    """(subject, number) of each run by its name: v1, v2 and so on.

    A run without a number, or with that of another run, because its folder was copied, gets one after the highest.
    """
    written: dict[str, str] = {}
    taken: dict[str, set[int]] = {}
    found: dict[str, int] = {}
    ordered = sorted(runs, key=lambda run: (run.started, run.run))
    for run in ordered:
        key = same(run.subject) or same(run.name)
        written.setdefault(key, run.subject or run.name)
        own = numbers.number(run.versions.get(numbers.KEY))
        if own is not None and own not in taken.setdefault(key, set()):
            taken[key].add(own)
            found[run.run] = own
    for run in ordered:
        if run.run not in found:
            used = taken.setdefault(same(run.subject) or same(run.name), set())
            found[run.run] = max(used, default=0) + 1
            used.add(found[run.run])
    return {run.run: (written[same(run.subject) or same(run.name)], found[run.run]) for run in ordered}


def _version(run: PastRun, number: int, runs: Path) -> dict[str, Any]:
    folder = RunFolder(runs / run.run)
    outputs = [Path(file) for file in run.outputs if places.is_there(Path(file)) and Path(file).is_absolute()]
    return {
        "id": run.run,
        "version": number,
        "name": run.labels.name or f"v{number}",
        "timestamp": dt.datetime.fromtimestamp(run.started, dt.UTC)
        .isoformat(timespec="seconds")
        .replace("+00:00", "Z"),
        "parameters": _parameters(folder),
        "status": STATUS.get(run.state, "failed"),
        "loraUrl": outputs[0].as_uri() if outputs else None,
        "selectionSetId": None,
        "imageCount": run.images if run.images is not None else history.images_of(folder),
    }


def _parameters(folder: RunFolder) -> Mapping[str, Any]:
    """The main settings of a run under the names that this form gives them; a setting that the run lacks is left out."""
    try:
        flat = fields.flatten(folder.plan)
    except RunError:
        return {}
    named = {
        "network_dim": flat.get("network.rank"),
        "network_alpha": flat.get("network.alpha"),
        "learning_rate": flat.get("optimizer.learning_rate"),
        "max_train_steps": flat.get("schedule.steps"),
        "class_tokens": flat.get("dataset.trigger"),
        "lr_scheduler": flat.get("schedule.scheduler"),
        "optimizer_type": flat.get("optimizer.name"),
        "batch_size": flat.get("schedule.batch_size"),
        "num_repeats": flat.get("dataset.repeats"),
        "gradient_dtype": flat.get("memory.mixed_precision"),
    }
    return {name: value for name, value in named.items() if value not in (None, "")}
