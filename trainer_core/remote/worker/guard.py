"""Ends the trainings of a worker that was killed: `python -m trainer_core.remote.worker.guard PID`.

A training has a supervisor of its own, which would go on without the worker, on a GPU that nobody pays attention to.
"""

from __future__ import annotations

import os
import subprocess
import sys

from trainer_core.jobs.processes import EndOf, Identity
from trainer_core.remote.worker import room

LOOK_S = 60.0


def start() -> subprocess.Popen[bytes]:
    """Starts a guard of this process; it ends when this process does."""
    command = [sys.executable, "-m", "trainer_core.remote.worker.guard", str(os.getpid())]
    # In a session of its own, so that a signal to all processes of the worker does not end it first.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)


def main(pid: int) -> None:
    """Waits for the end of the worker with this process id, and clears what it was doing."""
    worker = Identity.of(pid)
    if worker is not None:
        end = EndOf(worker)
        while not end.wait(LOOK_S):
            pass
    room.sweep()


if __name__ == "__main__":
    main(int(sys.argv[1]))
