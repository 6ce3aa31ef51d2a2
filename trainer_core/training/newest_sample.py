"""The newest sample of a run, found without reading its events: the history shows one for each of many runs."""

from __future__ import annotations

from pathlib import Path

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.training import artefacts
from trainer_core.training.folder import RunFolder


def newest_sample(folder: RunFolder) -> Path | None:
    """The file of the newest sample in a run folder, which may come from anybody; None if there is none.

    A path that leads out of the folder is left out.
    """
    result = folder.result or {}
    summary = result.get("summary")
    told = summary.get("newest_sample") if isinstance(summary, dict) else None
    if isinstance(told, str) and told and _is_inside(folder.path / told, folder.path):
        return folder.path / told
    try:
        found = artefacts.matching(folder.output, folder.rendered.artefacts.samples)
    except (JobError, AttributeError, ValueError, OSError):
        return None
    return next((path for path, _ in reversed(found) if _is_inside(path, folder.path)), None)


def _is_inside(path: Path, folder: Path) -> bool:
    try:
        return places.real(path).is_relative_to(places.real(folder)) and path.is_file()
    except (OSError, ValueError):
        return False
