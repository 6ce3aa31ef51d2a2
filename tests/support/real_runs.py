"""Waiting for real runs of real engines, and stopping them at a state."""

import contextlib
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
    """Stops a run that has saved its own state of a step, or of a later one, and recorded the loss of that step.

    The engine is paused at once, so that a fast one does not finish before the stop reaches it.
    """
    step, spec = max(step, run.folder.done_steps + 1), run.folder.rendered

    def is_due(run):
        # Easel may remove an older state meanwhile.
        with contextlib.suppress(FileNotFoundError):
            found = states.saved(run.folder, spec.artefacts.states, 0)
            own = [each.path for each in found if each.step >= step and not each.problem]
            # The trainers of one author record the loss after they have saved the state.
            if any(newest(spec.metrics.folder) > newest(path) for path in own):
                return True
        return run.state in FINAL_STATES

    wait(run, is_due, seconds=900, every_s=0.02)
    run.host.signal(run.folder.path, "program", signal.SIGSTOP)
    run.stop(grace_s=1)
    assert run.state is JobState.CANCELLED, (run.state, run.diagnosis)


def newest(folder):
    """When a file in a folder was written last, in nanoseconds."""
    return max((file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()), default=0)
