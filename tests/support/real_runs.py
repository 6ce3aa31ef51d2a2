"""Waiting for real runs of real engines."""

import time

GIB = 1024**3


def wait(run, until, seconds=600):
    """Waits until `until(run)` is true."""
    deadline = time.monotonic() + seconds
    while not until(run):
        assert time.monotonic() < deadline, f"{run.folder.path}: {run.state}, {run.summary}"
        time.sleep(0.2)
