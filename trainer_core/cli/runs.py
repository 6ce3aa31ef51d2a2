"""`easel runs`: list, show, follow and stop runs, from any terminal. The commands are those of `easel jobs`."""

from __future__ import annotations

from trainer_core import places
from trainer_core.cli import jobs, run_commands, run_details
from trainer_core.cli.packages import commands_in
from trainer_core.jobs.queueing import requests
from trainer_core.training import labels
from trainer_core.training.run import Run, list_runs

RUNS = jobs.Jobs(
    "run",
    lambda: list_runs(places.runs()),
    Run.attach,
    places.runs,
    kinds=False,
    called=lambda run: labels.read(run.folder).name,
    details=run_details.details,
)


def find_run(name: str) -> Run:
    """The run with this name; see `jobs.find`.

    Raises:
        JobError: none or more than one fits.
    """
    return RUNS.find(name)


def follow_run(run: Run, quiet: bool = False) -> None:
    """Shows a run's progress until it ends. Ctrl+C stops watching, not the run."""
    jobs.watch(run, quiet, RUNS.noun)


def run_result(run: Run, as_json: bool) -> int:
    """Prints how a run ended and returns the exit code: 0 completed, 1 anything else."""
    return jobs.result(run, as_json, RUNS.noun)


runs = RUNS.group(
    """List, watch and stop runs.

    Identify a run by its name, the end of its name, the name that you gave it, or its folder. The word last means the run
    that was started last.
    """
)
# The owner of the queue may have been killed, or the machine restarted.
runs.callback = requests.wake
for command in commands_in(run_commands):
    runs.add_command(command)
