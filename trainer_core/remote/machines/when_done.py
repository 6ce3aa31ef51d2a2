"""When a remote run has ended and its files are here, has its machine run the command that the user wants then."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.files import open_own, write_whole
from trainer_core.text import printable

if TYPE_CHECKING:
    from trainer_core.remote.machines.book import Entry

FILE = "when-done.json"
"""What became of the command, in the folder of the run."""
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
    from trainer_core.jobs.folder import json_text
    from trainer_core.remote.machines.carrier import entry_of

    try:
        entry = entry_of(target)
        if not entry.when_done:
            return
        is_first = finish(folder, entry, str(about.get("id", "")))
        command = " ".join(entry.when_done)
        said = f"{entry.machine} runs: {command}" if is_first else f"{entry.machine} was told before to run: {command}"
    except JobError as error:
        said = f"The command for the end of the run was not started. {error}"
    print(said, flush=True)
    # Without space for it, it is in runner.log all the same.
    with contextlib.suppress(OSError):
        write_whole(folder / FILE, json_text({"told": said}))


def finish(folder: Path, entry: Entry, id: str) -> bool:  # noqa: A002 - the id of a run is called so everywhere
    """Starts the command there if the run has ended and everything it made is here; False if it was started before.

    Raises:
        MachineError: the machine cannot be reached.
        JobError: a file is not here, another run is at work on the machine, or the command cannot be started.
    """
    from trainer_core.jobs.hosts.ssh_failure import MachineError
    from trainer_core.remote.machines.carrier import SshCarrier
    from trainer_core.remote.runs.carrier import NotNow
    from trainer_core.remote.runs.notes import Notes

    _check_own(folder, entry)
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
        return is_first
    return False


def _check_own(folder: Path, entry: Entry) -> None:
    """Checks that no other run of this computer is on the machine: it may be on its way there, or its files on their way here.

    Raises:
        JobError: one is.
    """
    from trainer_core.jobs.recovery import recover
    from trainer_core.remote.machines.carrier import entry_of
    from trainer_core.remote.machines.living import lives
    from trainer_core.remote.runs.target import Remote
    from trainer_core.training.run import list_runs

    others = [run for run in list_runs(places.runs()) if run.folder.path != folder and _is_on(run.folder.path, entry)]
    recover(others)
    if found := [run for run in others if lives(run)]:
        other = found[0]
        told = f"{entry.machine} is still in use, so it was left as it is: {printable(other.name, 120)} ({other.state.value})."
        runs_then = bool(entry_of(Remote.of(other.folder.path).target).when_done)
        raise JobError(
            told, "The command runs when that one has ended." if runs_then else "Stop the machine yourself then."
        )


def _is_on(folder: Path, entry: Entry) -> bool:
    """Whether a run of this computer is one on the machine, perhaps in another folder of Easel there."""
    target = _remote(folder).get("target")
    if not isinstance(target, Mapping) or target.get("kind") != "ssh":
        return False
    return target.get("address") == entry.address


def _is_here(path: Path, size: int) -> bool:
    with contextlib.suppress(OSError):
        return path.is_file() and path.stat().st_size == size
    return False


def _remote(folder: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError), open_own(folder / "remote.json") as file:
        found = json.loads(file.read(_LARGEST_BYTES))
        return found if isinstance(found, dict) else {}
    return {}
