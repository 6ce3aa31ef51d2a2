"""When a job has ended, calls each entry point in the group "trainer_core.job_ended" with the job's folder.

A queue can start its next job this way. Each call runs in a separate process after the result is written, so that an
error in it cannot affect the job; its output, including a traceback, is in the job's `runner.log`.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ENTRY_POINTS = "trainer_core.job_ended"


def followers() -> list[str]:
    """The names of the entry points; asked at the start of a job, because Easel may be removed while it runs."""
    return sorted(importlib.metadata.entry_points(group=ENTRY_POINTS).names)


def notify(folder: Path, names: Iterable[str]) -> None:
    """Starts one process for each of these entry points; they write to the same output as this process."""
    for name in names:
        command = [sys.executable, "-P", "-m", __name__, name, str(folder)]
        try:
            subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        except OSError as error:
            print(f"{name} was not called: {error.strerror or error}.", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Calls the entry point with the given name; returns the exit status."""
    name, folder = arguments
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS, name=name):
        point.load()(Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
