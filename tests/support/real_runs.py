"""Waiting for real runs of real engines, and stopping them at a state."""

import signal
import time

from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.training import states

GIB = 1024**3


def wait(run, until, seconds=600, every_s=0.2):
    """Waits until `until(run)` is true."""
    deadline = time.monotonic() + seconds
    while not until(run):
        assert time.monotonic() < deadline, f"{run.folder.path}: {run.state}, {run.summary}"
        time.sleep(every_s)


def stop_after_state(run, step):
    """Stops a run that has saved its own state of a step, or of a later one.

    The engine is paused at once, so that a fast one does not finish before the stop reaches it.
    """
    step, pattern = max(step, run.folder.done_steps + 1), run.folder.rendered.artefacts.states

    def is_saved(run):
        found = states.saved(run.folder, pattern, 0)
        return any(each.step >= step and not each.problem for each in found) or run.state in FINAL_STATES

    wait(run, is_saved, seconds=900, every_s=0.02)
    run.host.signal(run.folder.path, "program", signal.SIGSTOP)
    run.stop(grace_s=1)
    assert run.state is JobState.CANCELLED, (run.state, run.diagnosis)
