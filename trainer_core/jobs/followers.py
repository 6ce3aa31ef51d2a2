"""When a job has ended, calls each entry point in the group "trainer_core.job_ended" with the job's folder.

A queue can start its next job this way. The calls run after the result is written, in processes of their own, so that an
error in one of them affects neither the job nor another call. Their output is in the job's `runner.log`.
"""

from __future__ import annotations

import gc
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ENTRY_POINTS = "trainer_core.job_ended"
_START = """\
import sys
try:
    from trainer_core.jobs.followers import main
except (ImportError, SyntaxError, ValueError) as error:
    sys.exit(f"Nothing was called after the job, because Easel was changed or removed while it ran: {error}")
sys.exit(main(sys.argv[1:]))
"""
"""Python code that starts `main`. It is kept in memory, because Easel may be removed while a job runs."""
_CHANGED = (ImportError, SyntaxError, AttributeError, ValueError)
"""What Python raises when it loads a module that was removed or overwritten."""


def names() -> list[str]:
    """The names of the entry points; asked at the start of a job, because Easel may be removed while it runs."""
    return sorted(importlib.metadata.entry_points(group=ENTRY_POINTS).names)


def notify(folder: Path, called: Sequence[str]) -> None:
    """Starts a process that calls the entry points with these names; it writes to the same output as this process."""
    if not called:
        return
    try:
        subprocess.Popen(
            [sys.executable, "-P", "-c", _START, str(folder), *called], stdin=subprocess.DEVNULL, start_new_session=True
        )
    except OSError as error:
        print(f"Nothing was called after the job: {error.strerror or error}.", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Calls the entry points with the given names, each in a fork of this process; returns the exit status."""
    folder, *called = arguments
    # All are loaded before the first fork, so that what they share is loaded once.
    loaded = [function for name in called for function in _loaded(name)]
    # What is loaded stays to the end. A child that collected it as garbage would copy its memory first.
    gc.freeze()
    children = []
    for function in loaded:
        child = os.fork()
        if not child:
            # Here the child ends; what an entry point raises is in runner.log.
            return _called(function, Path(folder))
        children.append(child)
    return max((os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children), default=0)


def _loaded(name: str) -> list[Callable[[Path], object]]:
    """The functions of the entry points with this name; a sentence in place of one that is gone."""
    found = []
    points = importlib.metadata.entry_points(group=ENTRY_POINTS, name=name)
    for point in points:
        try:
            found.append(point.load())
        except _CHANGED as error:
            _say_changed(name, str(error))
    if not points:
        _say_changed(name, "its package is gone")
    return found


def _say_changed(name: str, why: str) -> None:
    print(f"{name} was not called after the job, because its package was changed or removed: {why}.", file=sys.stderr)


def _called(function: Callable[[Path], object], folder: Path) -> int:
    try:
        function(folder)
    except (ImportError, SyntaxError) as error:
        _say_changed(function.__module__, str(error))
        return 1
    return 0
