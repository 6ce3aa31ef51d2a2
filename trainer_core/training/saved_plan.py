"""The plan of a run as a file of its own, with which the same training can be started again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from trainer_core import places
from trainer_core.errors import RunError
from trainer_core.files import open_own
from trainer_core.training.folder import results_stem
from trainer_core.training.run import Run


def save_plan(run: Run, folder: Path | None = None) -> Path:
    """Copies the plan of a run into a folder (default: that of the outputs), and returns the new file; none is replaced.

    Raises:
        RunError: the plan is damaged, or the folder cannot be written.
    """
    source = run.folder.path / "plan.toml"
    stem = Path(results_stem(run.folder.plan, run.folder)).name or run.name
    target = folder or places.outputs()
    try:
        target.mkdir(parents=True, exist_ok=True)
        path = _free(target, stem)
        with open_own(source) as read, path.open("xb") as written:
            shutil.copyfileobj(read, written)
    except OSError as error:
        raise RunError(
            f"The plan cannot be saved in {target}: {error.strerror or error}.",
            "Check its permissions and the free space.",
        ) from error
    return path


def _free(folder: Path, stem: str) -> Path:
    number, path = 2, folder / f"{stem}.plan.toml"
    while os.path.lexists(path):
        number, path = number + 1, folder / f"{stem}-{number}.plan.toml"
    return path
