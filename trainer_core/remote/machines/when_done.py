"""When a remote run has ended and its files are here, has its machine run the command that the user wants then."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core.errors import JobError
from trainer_core.files import open_own
from trainer_core.jobs.hosts.ssh_failure import MachineError
from trainer_core.remote.machines.book import Entry
from trainer_core.text import printable

ATTEMPTS = 5
WAIT_S = 15.0
_LARGEST_BYTES = 1 << 20


def job_ended(folder: Path) -> None:
    """The entry point in the group `trainer_core.job_ended`. What it says is in the `runner.log` of the run."""
    # Called after every job: what ssh needs is loaded only for a run on such a machine.
    about = _remote(folder)
    target = about.get("target")
    if not isinstance(target, Mapping) or target.get("kind") != "ssh":
        return
    from trainer_core.remote.machines.carrier import entry_of

    try:
        entry = entry_of(target)
        if entry.when_done:
            finish(folder, entry, str(about.get("id", "")))
    except JobError as error:
        print(f"The command for the end of the run was not started. {error}", flush=True)


def finish(folder: Path, entry: Entry, id: str) -> bool:  # noqa: A002 - the id of a run is called so everywhere
    """Starts the command there if the run has ended and everything it made is here; False if it was started before.

    Raises:
        MachineError: the machine cannot be reached.
        JobError: a file is not here, or the command cannot be started.
    """
    from trainer_core.remote.machines.carrier import SshCarrier
    from trainer_core.remote.runs.carrier import NotNow
    from trainer_core.remote.runs.notes import Notes

    for attempt in range(1, ATTEMPTS + 1):
        carrier = SshCarrier(entry, id, folder, Notes(folder))
        try:
            missing = [name for name, each in carrier.files().items() if not _is_here(folder / name, each.size)]
            if missing:
                raise JobError(
                    f"{printable(missing[0], 200)} and perhaps more of {entry.machine} are not in {folder}.",
                    "Fetch the results again, and stop the machine yourself.",
                )
            is_first = carrier.finish(entry.when_done)
        except (MachineError, NotNow):
            if attempt == ATTEMPTS:
                raise
            time.sleep(WAIT_S)
            continue
        finally:
            carrier.close()
        print(
            f"{entry.machine} runs: {' '.join(entry.when_done)}" if is_first else "It was started before.", flush=True
        )
        return is_first
    return False


def _is_here(path: Path, size: int) -> bool:
    with contextlib.suppress(OSError):
        return path.is_file() and path.stat().st_size == size
    return False


def _remote(folder: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError), open_own(folder / "remote.json") as file:
        found = json.loads(file.read(_LARGEST_BYTES))
        return found if isinstance(found, dict) else {}
    return {}
