"""Ends the trainings of a worker that was killed: `python -m trainer_core.remote.worker.guard`.

Its input is a pipe from the worker, and ends with it, however that ends. A training has a supervisor of its own, which would go on
without the worker, on a GPU that nobody pays attention to.
"""

from __future__ import annotations

import os
import subprocess
import sys

from trainer_core.remote.worker import room


def start() -> subprocess.Popen[bytes]:
    """Starts a guard of this process; it ends when this process does."""
    command = [sys.executable, "-m", "trainer_core.remote.worker.guard"]
    # In a session of its own, so that a signal to all processes of the worker does not end it first.
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def main() -> None:
    """Waits for the end of the worker, and clears what it was doing."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    room.sweep()


if __name__ == "__main__":
    main()
