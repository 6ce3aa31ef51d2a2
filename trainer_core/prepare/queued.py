"""Runs for the queue, for notebook and command line alike: a job like an earlier run, for a GPU, prepared and added."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from trainer_core import places
from trainer_core.errors import JobError, RunError
from trainer_core.hardware import ASSUMED, Machine
from trainer_core.jobs.queueing import entries, environment, requests
from trainer_core.jobs.queueing.entries import Queue
from trainer_core.prepare import sweep
from trainer_core.prepare.forecast import Forecast, forecast
from trainer_core.prepare.sweep import Member
from trainer_core.prepare.workbench import Workbench, prepare_run
from trainer_core.training import gpu as gpus
from trainer_core.training.run import Run


def bench_like(run: Run) -> Workbench:
    """A workbench with the plan of an earlier run, whose folder may come from anybody: every value is checked again.

    Raises:
        BackendError: its engine is not known here.
        RunError: its plan is damaged.
    """
    bench = Workbench(engine=str(run.folder.versions.get("engine") or ""), quick=False)
    bench.begin_from(run)
    return bench


def bench_as_made(run: Run) -> Workbench:
    """As `bench_like`, for the machine that the run was made for, to be used for another one.

    Values that Easel chose by that machine count as chosen by Easel, and not by the user.
    """
    record = run.folder.read("hardware.json")
    try:
        machine = Machine.from_dict(record) if record else ASSUMED if record == {} else None
    except (KeyError, TypeError):
        machine = None
    bench = Workbench(machine, str(run.folder.versions.get("engine") or ""), quick=False)
    bench.begin_from(run)
    return bench


def use_gpu(bench: Workbench, wanted: str = "") -> str:
    """The GPU that the user named, or the usual one; the job is then checked for it.

    Raises:
        RunError: this machine has no such GPU.
    """
    machine = bench.state.facts.machine
    gpu = gpus.chosen(wanted, machine)
    bench.use_machine(gpus.machine_with(machine, gpu))
    return gpu


def gpu_like(run: Run, machine: Machine) -> str:
    """The GPU of an earlier run, if this machine has it, else the usual one."""
    with contextlib.suppress(RunError):
        return gpus.chosen(str(run.folder.versions.get("gpu") or ""), machine)
    return gpus.usual(machine)


def queue_run(bench: Workbench, gpu: str = "", notes: Mapping[str, str] | None = None) -> tuple[Run, Queue]:
    """The job of a workbench as a run that waits for its GPU, and the queue that has it.

    Raises:
        PlanError: there is a blocking Problem.
        JobError: the run folder or the queue cannot be written.
    """
    run = prepare_run(bench, gpu=use_gpu(bench, gpu), notes=notes)
    return run, add([run])


def queue_members(
    members: Sequence[Member], gpu: str, notes: Mapping[str, str] | None = None
) -> tuple[str, list[Run], Queue]:
    """The id of a new sweep, its runs, and the queue that has them; one member alone is a plain run, and no sweep.

    Raises:
        PlanError: a member has a blocking Problem; nothing is queued.
        JobError: a run folder or the queue cannot be written.
    """
    if len(members) == 1:
        run, queue = queue_run(members[0].bench, gpu, notes)
        return "", [run], queue
    identifier, runs = sweep.prepare(members, gpu, notes)
    return identifier, runs, add(runs)


def add(runs: Sequence[Run]) -> Queue:
    """The queue with these prepared runs; if they cannot be added, they are removed.

    Raises:
        JobError: the queue cannot be written.
    """
    try:
        return requests.add([run.folder.path for run in runs])
    except JobError:
        for run in runs:
            run.folder.remove()
        raise


def said(run: Run, queue: Queue) -> str:
    """A sentence about where a run waits, and when it starts."""
    told = environment.warning(environment.left_out())
    return f"{_waits(run, queue)} {told}".strip()


def _waits(run: Run, queue: Queue) -> str:
    gpu, at = str(run.folder.versions.get("gpu") or ""), queue.position(run.name)
    place = entries.place(gpu)
    if not at:
        return f"{run.name} is being started on {place}."
    if queue.is_paused(gpu):
        return f"{run.name} waits at position {at} for {place}. The queue is paused: it starts after you continue it, in History or with `{entries.CONTINUE}`."
    return f"{run.name} waits at position {at}. It starts when {place} is free, also if this notebook is closed."


def look_ahead(bench: Workbench) -> Forecast | None:
    """The forecast of a job from the past runs of this machine."""
    from trainer_core.estimate import find_gpu_processes, past_runs

    return forecast(bench.state.draft, bench.state.backend, past_runs(places.runs()), find_gpu_processes)


def total_time(members: Sequence[Member]) -> str:
    """How long the runs of a sweep take one after the other, in words."""
    from trainer_core.estimate import formatting

    if not all(member.forecast is not None and member.forecast.estimate.is_time_known for member in members):
        return "their time is not known before the first steps"
    low, high = (sum(member.seconds[place] for member in members) for place in (0, 1))
    return f"about {formatting.span((low, high))} in all"
