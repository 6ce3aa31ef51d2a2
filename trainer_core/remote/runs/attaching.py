"""Follows a remote run that was started on another computer, or whose local folder is gone."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import JobError, wrong_use
from trainer_core.jobs.folder import SPEC, json_object
from trainer_core.jobs.recovery import recover
from trainer_core.remote.runs.carrier import Carrier, Target
from trainer_core.remote.runs.locks import locked
from trainer_core.remote.runs.mirror import SMALL_BYTES
from trainer_core.remote.runs.request import checked_id
from trainer_core.remote.runs.starting import local_run
from trainer_core.remote.runs.target import Remote
from trainer_core.training.folder import RunFolder
from trainer_core.training.run import Run, list_runs

FOLDER = "attaching"


def attach(target: Target, id: str) -> Run:  # noqa: A002 - the id of a run is called so everywhere
    """The local run that follows the remote run with this id: a new one, or the one that this computer has already.

    Raises:
        JobError: the trainer cannot be reached, has no such run, or its run is of a kind that this Easel does not know.
    """
    remote = Remote(checked_id(id), target, attached=True)
    # Two programs can do this at the same moment: the second one gets the run of the first.
    with locked(places.cache() / FOLDER, remote.id):
        return here(remote.id) or _attached(remote)


def _attached(remote: Remote) -> Run:
    made = RunFolder.create(places.runs(), _stem(remote.id))
    with contextlib.ExitStack() as undo:
        undo.callback(made.remove)
        remote.write(made.path)
        with contextlib.closing(remote.carrier(made.path)) as carrier:
            engine, tables = _asked(carrier, remote)
        run = local_run(made, remote, engine, tables)
        undo.pop_all()
    run.launch()
    return run


def here(id: str) -> Run | None:  # noqa: A002 - as above
    """The run of this computer that follows the remote run, with a new supervisor if it has lost its own; None without one.

    One that was lost for good does not count: another one can follow the remote run.
    """
    for run in list_runs(places.runs()):
        if run.folder.where and _id_of(run.folder.path) == id:
            recover([run])
            if (run.result or {}).get("state") != "LOST":
                return run
    return None


def _id_of(run: Path) -> str:
    try:
        return Remote.of(run).id
    except JobError:
        return ""


def _asked(carrier: Carrier, remote: Remote) -> tuple[str, dict[str, Any]]:
    """The engine of the remote run, and the tables of its plan, as the trainer says them; both are checked later."""
    seen = carrier.state()
    spec = _json(carrier, SPEC)
    if spec is None:
        more = f" {seen.sentence}" if seen.sentence else ""
        raise wrong_use(
            JobError(
                f"{remote.where} has no run with the id {remote.id} whose plan is known.{more}",
                "Look at the id, or try it again when the run has begun.",
            )
        )
    details = spec.get("details")
    plan = details.get("plan") if isinstance(details, dict) else None
    engine = details.get("backend") if isinstance(details, dict) else None
    if not isinstance(plan, dict) or not isinstance(engine, str):
        raise JobError(f"The plan of the run on {remote.where} cannot be read.", "Update Easel.")
    tables = {name: dict(table) for name, table in plan.items() if isinstance(table, dict)}
    # The trainer delivers into a folder of its own; here, results go to the usual one.
    for name in ("folder", "copy_to", "mirror_to"):
        tables.get("output", {}).pop(name, None)
    return engine, tables


def _json(carrier: Carrier, name: str) -> dict[str, Any] | None:
    content = b""
    while piece := carrier.read(name, len(content)):
        content += piece
        if len(content) > SMALL_BYTES:
            raise JobError(f"The {name} of the trainer is larger than any that Easel writes.")
    return json_object(content)


def _stem(id: str) -> str:  # noqa: A002 - as above
    """The name of a run in an id, which begins with the time at which the run was made elsewhere."""
    name = id.rpartition("-")[0]
    parts = name.split("-", 2)
    return parts[2] if len(parts) == 3 and parts[0].isdigit() and parts[1].isdigit() else name
