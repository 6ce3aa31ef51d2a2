"""What `easel train` and the commands of runs share: a job like an earlier run, a run for a GPU, runs and sweeps in the queue."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.cli import show
from trainer_core.cli.asking import agreed
from trainer_core.errors import JobError, PlanError
from trainer_core.jobs.queueing import entries, requests
from trainer_core.prepare.workbench import Workbench, prepare_run
from trainer_core.problems import blocking
from trainer_core.training import gpu as gpus
from trainer_core.training.run import Run

if TYPE_CHECKING:
    from trainer_core.prepare.forecast import Forecast
    from trainer_core.prepare.sweep import Changes, Member

ASKED_FROM = 10
"""From this number of runs on, a sweep is started only after the user agreed."""
PROBLEMS = 3


@dataclass(frozen=True)
class Wanted:
    """The GPU that a run is to use, "" for the usual one, and the run that it is like."""

    gpu: str = ""
    like: str = ""

    @property
    def notes(self) -> dict[str, str]:
        """The entries of a run's versions.json."""
        return {"like": self.like} if self.like else {}


def bench_like(run: Run) -> Workbench:
    """A workbench with the plan of an earlier run, whose folder may come from anybody: every value is checked again.

    Raises:
        BackendError: its engine is not known here.
        RunError: its plan is damaged.
    """
    bench = Workbench(engine=str(run.folder.versions.get("engine") or ""), quick=False)
    bench.begin_from(run)
    return bench


def use_gpu(bench: Workbench, wanted: str) -> str:
    """The GPU that the user named, or the usual one; the job is then checked for it.

    Raises:
        RunError: this machine has no such GPU.
    """
    machine = bench.state.facts.machine
    gpu = gpus.chosen(wanted, machine)
    bench.use_machine(gpus.machine_with(machine, gpu))
    return gpu


def prepared(bench: Workbench, wanted: Wanted, pinned: bool) -> Run:
    """A prepared run; `pinned`: it sees only its GPU. Blocking Problems are printed.

    Raises:
        PlanError: there is a blocking Problem.
    """
    gpu = use_gpu(bench, wanted.gpu) if pinned or wanted.gpu else None
    try:
        return prepare_run(bench, gpu=gpu, notes=wanted.notes)
    except PlanError as error:
        show.problems(error.problems)
        raise


def start(bench: Workbench, wanted: Wanted, as_json: bool) -> Run:
    """A run that was started now."""
    run = prepared(bench, wanted, pinned=False)
    run.launch()
    if as_json:
        show.as_json({"run": run.name, "folder": run.folder.path})
    else:
        show.line(f"Run {run.name} in {run.folder.path}")
    return run


def queue(bench: Workbench, wanted: Wanted, as_json: bool) -> None:
    """Puts one run into the queue, and says where it is."""
    run = prepared(bench, wanted, pinned=True)
    _queued([run], as_json)


def _queued(runs: Sequence[Run], as_json: bool, sweep: str = "") -> None:
    """Adds prepared runs to the queue; if that fails, they are removed."""
    try:
        found = requests.add([run.folder.path for run in runs])
    except JobError:
        for run in runs:
            run.folder.remove()
        raise
    rows = [
        {
            "run": run.name,
            "folder": run.folder.path,
            "gpu": run.folder.versions.get("gpu"),
            "position": found.position(run.name),
        }
        for run in runs
    ]
    if as_json:
        show.as_json({"sweep": sweep, "runs": rows} if sweep else rows[0])
        return
    for row in rows:
        show.line(f"Queued for {entries.place(str(row['gpu']))} at position {row['position']}: {row['run']}")
    if any(found.is_paused(str(row["gpu"])) for row in rows):
        show.line("The queue is paused: `easel runs queue continue` starts it.", "yellow")
    show.line(
        "`easel runs queue list` shows the queue"
        + (f", `easel runs compare --sweep {sweep}` the results." if sweep else ".")
    )


def sweep(bench: Workbench, sets: Sequence[Changes], wanted: Wanted, yes: bool, as_json: bool) -> None:
    """Queues a run for every set of changes, after all of them were checked.

    Raises:
        PlanError: one of them has a blocking Problem; nothing is queued.
    """
    from trainer_core.prepare import sweep as sweeps

    gpu = use_gpu(bench, wanted.gpu)
    members = sweeps.checked(bench, sets, _look_ahead)
    stopped = [member for member in members if blocking(member.problems)]
    if not as_json or stopped:
        _show_members(members)
    if stopped:
        raise PlanError(f"{len(stopped)} of {len(members)} runs of the sweep have problems.", "Nothing was queued.")
    if len(members) >= ASKED_FROM and not yes and not agreed(f"Queue {len(members)} runs?"):
        sys.exit(1)
    identifier, runs = sweeps.prepare(members, gpu, wanted.notes)
    _queued(runs, as_json, identifier)


def _show_members(members: Sequence[Member]) -> None:
    from trainer_core.estimate import formatting

    for number, member in enumerate(members, 1):
        worst = blocking(member.problems)
        show.line(f"{number}: {member.name}", "bold red" if worst else "bold")
        show.problems(worst or member.problems)
    known = [member.forecast is not None and member.forecast.estimate.is_time_known for member in members]
    total = tuple(sum(member.seconds[place] for member in members) for place in (0, 1))
    told = (
        f"about {formatting.span((total[0], total[1]))} in all"
        if all(known)
        else "their time is not known before the first steps"
    )
    show.line(f"{len(members)} runs, {told}.")


def _look_ahead(bench: Workbench) -> Forecast | None:
    from trainer_core.estimate import find_gpu_processes, past_runs
    from trainer_core.prepare.forecast import forecast

    return forecast(bench.state.draft, bench.state.backend, past_runs(places.runs()), find_gpu_processes)
