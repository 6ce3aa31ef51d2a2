"""What `easel train` and the commands of runs share: a job like an earlier run, a run for a GPU, runs and sweeps in the queue."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer_core.cli import show
from trainer_core.cli.asking import agreed
from trainer_core.jobs.queueing import entries, environment
from trainer_core.prepare.queued import add, bench_like, look_ahead, total_time, use_gpu
from trainer_core.prepare.workbench import Workbench, prepare_run
from trainer_core.problems import blocking
from trainer_core.training.run import Run

if TYPE_CHECKING:
    from trainer_core.prepare.sweep import Changes, Member

ASKED_FROM = 10
"""From this number of runs on, a sweep is started only after the user agreed."""
PROBLEMS = 3
__all__ = ["Wanted", "bench_like", "prepared", "queue", "queued", "start", "sweep", "use_gpu"]


@dataclass(frozen=True)
class Wanted:
    """The GPU that a run is to use, "" for the usual one, and the run that it is like."""

    gpu: str = ""
    like: str = ""

    @property
    def notes(self) -> dict[str, str]:
        """The entries of a run's versions.json."""
        return {"like": self.like} if self.like else {}


def prepared(bench: Workbench, wanted: Wanted, pinned: bool) -> Run:
    """A prepared run; `pinned`: it sees only its GPU.

    Raises:
        PlanError: there is a blocking Problem.
    """
    gpu = use_gpu(bench, wanted.gpu) if pinned or wanted.gpu else None
    return prepare_run(bench, gpu=gpu, notes=wanted.notes)


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
    queued([run], as_json)


def queued(runs: Sequence[Run], as_json: bool, sweep: str = "") -> None:
    """Adds prepared runs to the queue; if that fails, they are removed."""
    found = add(runs)
    rows = [
        {
            "run": run.name,
            "folder": run.folder.path,
            "gpu": run.folder.versions.get("gpu"),
            "position": found.position(run.name),
        }
        for run in runs
    ]
    left_out = environment.left_out()
    if as_json:
        show.as_json({**({"sweep": sweep, "runs": rows} if sweep else rows[0]), "variables_left_out": left_out})
        return
    for row in rows:
        show.line(f"Queued for {entries.place(str(row['gpu']))} at position {row['position']}: {row['run']}")
    if any(found.is_paused(str(row["gpu"])) for row in rows):
        show.line(f"The queue is paused. To go on: {entries.CONTINUE}", "yellow")
    if told := environment.warning(left_out):
        show.line(told, "yellow")
    show.line(
        "`easel runs queue list` shows the queue"
        + (f", `easel runs compare --sweep {sweep}` the results." if sweep else ".")
    )


def sweep(
    bench: Workbench, sets: Sequence[Changes], wanted: Wanted, yes: bool, as_json: bool, *, alpha_follows: bool = True
) -> None:
    """Queues a run for every set of changes, after all of them were checked; `alpha_follows` as for `sweep.checked`.

    Raises:
        PlanError: one of them has a blocking Problem; nothing is queued.
    """
    from trainer_core.prepare import sweep as sweeps

    gpu = use_gpu(bench, wanted.gpu)
    members = sweeps.checked(bench, sets, look_ahead, alpha_follows=alpha_follows)
    stopped = [member for member in members if blocking(member.problems)]
    if not as_json:
        _show_members(members)
    if stopped:
        raise show.ShownError(
            f"{len(stopped)} of {len(members)} runs of the sweep have problems.",
            "Nothing was queued.",
            [problem for member in stopped for problem in blocking(member.problems)],
        )
    if len(members) >= ASKED_FROM and not yes and not agreed(f"Queue {len(members)} runs?"):
        sys.exit(1)
    identifier, runs = sweeps.prepare(members, gpu, wanted.notes)
    queued(runs, as_json, identifier)


def _show_members(members: Sequence[Member]) -> None:
    for number, member in enumerate(members, 1):
        worst = blocking(member.problems)
        show.line(f"{number}: {member.label}", "bold red" if worst else "bold")
        show.problems(worst or member.problems)
    from trainer_core.prepare.sweep import alpha_sentence

    if said := alpha_sentence(members):
        show.line(f"{said} With --keep-alpha it stays as it is.")
    show.line(f"{len(members)} runs, {total_time(members)}.")
