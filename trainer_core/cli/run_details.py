"""What `easel runs show` tells of a run beside its progress: labels, the runs that it belongs to, and its guard."""

from __future__ import annotations

from typing import Any

from trainer_core.errors import JobError
from trainer_core.training import labels
from trainer_core.training.folder import GUARD_FILE
from trainer_core.training.mirror_notes import lack_of
from trainer_core.training.run import Run

RELATIVES = ("retries", "like", "sweep")
"""The entries of versions.json that name the run or sweep that a run belongs to, apart from the run that it continues."""


def details(run: Run) -> dict[str, Any]:
    """The labels of a run, which run it continues or repeats, why a guard has started nothing, and what was not mirrored, as JSON data.

    `resumes` or `extends` is {"run", "step"}; what does not apply is left out, except the labels.
    """
    versions = run.folder.versions
    relatives = {name: versions[name] for name in RELATIVES if isinstance(versions.get(name), str) and versions[name]}
    guard = run.folder.read(GUARD_FILE)
    told: dict[str, Any] = {"guard": {str(name): str(value) for name, value in guard.items()}} if guard else {}
    if lack := lack_of(run.folder):
        told["mirror"] = lack
    return {**labels.read(run.folder).as_dict(), **_origin(run), **relatives, **_remote(run), **told}


def _remote(run: Run) -> dict[str, str]:
    """On which machine a run trains, and what became of the command that this machine runs at its end."""
    if not run.folder.where:
        return {}
    from trainer_core.remote.machines.when_done import FILE

    done = (run.folder.read(FILE) or {}).get("told")
    return {"where": run.folder.where, **({"when_done": done} if isinstance(done, str) else {})}


def _origin(run: Run) -> dict[str, Any]:
    try:
        origin = run.folder.origin
    except JobError:
        return {}
    if origin is None:
        return {}
    kind = "extends" if origin.schedule_from == origin.step else "resumes"
    return {kind: {"run": origin.run, "step": origin.step}}
