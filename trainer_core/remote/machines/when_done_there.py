"""Starts, on the machine that has trained, the command that its user wants when the results are fetched, once."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.jobs.folder import JobFolder, writing
from trainer_core.jobs.job import list_jobs
from trainer_core.jobs.recovery import recover
from trainer_core.jobs.state import FINAL_STATES
from trainer_core.remote.machines.living import lives
from trainer_core.remote.runs import there
from trainer_core.text import printable

SHOWN = 3
MARK, LOG = "when-done.json", "when-done.log"
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<plain>[A-Za-z_][A-Za-z0-9_]*))", re.ASCII)


def start(id: str, words: Sequence[str]) -> str:  # noqa: A002 - the id of a run is called so everywhere
    """Starts the command without a shell; returns "started", or "before" if that was done by an earlier call.

    A variable in a word, as $RUNPOD_POD_ID, is replaced by its value on this machine.

    Raises:
        JobError: the run has not ended, something else is at work here, a variable has no value here, or the command cannot
            be started.
    """
    run = there.find(id)
    if run.state not in FINAL_STATES:
        raise JobError(f"The run {id} has not ended.", "The command runs when its results are fetched.")
    _check_idle(id)
    known = _variables()
    command = [_filled(word, known) for word in words]
    if not _is_first(run.folder, words):
        return "before"
    with (run.folder.path / LOG).open("ab") as log:
        try:
            # It may stop this machine, and must not wait for this connection.
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=Path.home()
            )
        except OSError as error:
            (run.folder.path / MARK).unlink(missing_ok=True)
            raise JobError(
                f"{printable(words[0], 100)} cannot be started: {error.strerror or error}.", "Check the command."
            ) from error
    return "started"


def _check_idle(id: str) -> None:  # noqa: A002 - as above
    """Checks that no other run or job of this Easel is at work here, or waits in its queue: the command may stop this machine.

    Raises:
        JobError: one is.
    """
    others = [job for job in list_jobs(places.runs(), there.home(), places.jobs()) if job.name != id]
    recover(others)
    if not (found := [job for job in others if lives(job)]):
        return
    shown = ", ".join(f"{printable(job.name, 120)} ({job.state.value})" for job in found[:SHOWN])
    more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise JobError(
        f"The machine is still in use, so it was left as it is: {shown}{more}.",
        "If that is a run which was started with this command, too, the command runs when that one has ended. Else stop the "
        "machine yourself then.",
    )


def _is_first(folder: JobFolder, words: Sequence[str]) -> bool:
    with writing(folder.path), contextlib.suppress(FileExistsError):
        handle = os.open(folder.path / MARK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            # The words as the user wrote them: the values of variables may be secrets.
            file.write(" ".join(words) + "\n")
        return True
    return False


def _filled(word: str, known: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name = found["braced"] or found["plain"]
        if name not in known:
            raise JobError(f"The variable {name} has no value on this machine.", "Write the value into the command.")
        return known[name]

    return _VARIABLE.sub(value, word)


def _variables() -> Mapping[str, str]:
    """The variables of a login here, and those of the container, which an ssh login does not get."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for pair in Path("/proc/1/environ").read_bytes().split(b"\0"):
            name, _, text = pair.partition(b"=")
            found[name.decode("utf-8", "surrogateescape")] = text.decode("utf-8", "surrogateescape")
    return {**found, **os.environ}
