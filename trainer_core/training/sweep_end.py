"""When the last run of a sweep has ended, writes the comparison of its runs: `<home>/sweeps/<id>/comparison.json` and `.csv`."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.files import write_whole
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.state import FINAL_STATES

if TYPE_CHECKING:
    from trainer_core.training.run import Run

_ID = re.compile(r"[0-9A-Za-z-]{1,60}")


def runs_of(sweep: str) -> list[Run]:
    """The runs of a sweep, in the order in which they were prepared."""
    # Imported here, because `job_ended` is called after every job, and few belong to a sweep.
    from trainer_core.training import history
    from trainer_core.training.run import Run

    found = history.history(wanted=history.Filter(sweep=sweep)) if sweep else []
    return sorted((Run.attach(places.runs() / past.run) for past in found), key=_order)


def job_ended(folder: Path) -> None:
    """The entry point in the group `trainer_core.job_ended`."""
    with contextlib.suppress(JobError):
        write(str(JobFolder.open(folder).versions.get("sweep") or ""))


def write(sweep: str) -> Path | None:
    """The folder with the comparison of a sweep; None while a run of it has not ended, or if it has fewer than two runs.

    Raises:
        JobError: the folder cannot be written.
    """
    if not _ID.fullmatch(sweep):
        return None
    from trainer_core.training.comparison import compare

    runs = runs_of(sweep)
    if len(runs) < 2 or any(run.state not in FINAL_STATES for run in runs):
        return None
    found, folder = compare(runs), places.sweeps() / sweep
    try:
        write_whole(folder / "comparison.json", json.dumps(found.as_dict(), indent=2) + "\n")
        write_whole(folder / "comparison.csv", found.as_csv())
    except OSError as error:
        raise JobError(
            f"{folder} cannot be written: {error.strerror or error}.", "Check the free disk space."
        ) from error
    return folder


def _order(run: Run) -> tuple[float, int, str]:
    """By time; runs that were prepared in the same second have a number at the end of their names."""
    created = run.folder.versions.get("created")
    return float(created) if isinstance(created, int | float) else 0.0, len(run.name), run.name
