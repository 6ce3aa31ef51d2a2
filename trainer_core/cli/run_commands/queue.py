"""`easel runs queue`: the runs that wait for a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP, Whole

if TYPE_CHECKING:
    from trainer_core.jobs.queueing.entries import Queue

GPU_HELP = "The number or unique id of a GPU. Default: all."


@click.group("queue")
def command() -> None:
    """Show and change the queue of runs.

    Each run waits for one GPU, and they start in turn. The queue outlives terminals and notebooks. After a restart of the machine it continues when Easel is used again.
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def list_queue(as_json: bool) -> None:
    """Show what runs and what waits, by GPU."""
    from trainer_core.jobs.queueing import entries

    _show(entries.read(), as_json)


@command.command()
@click.argument("run")
@click.option("--gpu", default="", metavar="GPU", help="The number or unique id of the GPU. Default: that of the run.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def add(run: str, gpu: str, as_json: bool) -> None:
    """Queue a new run with the plan of RUN, which is checked again."""
    from trainer_core.cli import queueing
    from trainer_core.cli.runs import find_run

    found = find_run(run)
    queueing.queue(queueing.bench_like(found), queueing.Wanted(gpu=gpu, like=found.name), as_json)


@command.command()
@click.argument("run")
@click.argument("position", type=Whole())
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def move(run: str, position: int, as_json: bool) -> None:
    """Move a waiting RUN to another POSITION.

    The position is that in the queue of its GPU; 1 is the next.
    """
    from trainer_core.cli.runs import find_run
    from trainer_core.jobs.queueing import requests

    _show(requests.move(find_run(run).name, position), as_json)


@command.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def cancel(runs: tuple[str, ...], as_json: bool) -> None:
    """Cancel waiting RUNS. They stay in the history."""
    from trainer_core.cli.runs import find_run
    from trainer_core.jobs.queueing import entries, requests
    from trainer_core.training import sweep_end

    for run in map(find_run, runs):
        requests.cancel(run.name)
        sweep_end.job_ended(run.folder.path)
    _show(entries.read(), as_json)


@command.command()
@click.option("--gpu", default="", metavar="GPU", help=GPU_HELP)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def pause(gpu: str, as_json: bool) -> None:
    """Start no more runs. What runs now is not touched."""
    from trainer_core.jobs.queueing import requests

    _show(requests.pause(_named(gpu)), as_json)


@command.command("continue")
@click.option("--gpu", default="", metavar="GPU", help=GPU_HELP)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def go_on(gpu: str, as_json: bool) -> None:
    """Start runs again after a pause."""
    from trainer_core.jobs.queueing import requests

    _show(requests.go_on(_named(gpu)), as_json)


@command.command()
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def repair(as_json: bool) -> None:
    """Make a new queue in place of a damaged one.

    The runs that were prepared and not started wait in it, in the order in which they were created. It is paused, so that you
    can cancel what should not start. The damaged file is kept.
    """
    from trainer_core.jobs.queueing import repairing

    _show(repairing.repair(), as_json)


@command.command("on-failure")
@click.argument("what", type=click.Choice(["continue", "pause"]))
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def on_failure(what: str, as_json: bool) -> None:
    """Choose what happens after a run that failed.

    The queue of its GPU continues with the next run (the default), or pauses.
    """
    from trainer_core.jobs.queueing import requests

    _show(requests.stop_on_failure(what == "pause"), as_json)


def _named(gpu: str) -> str:
    from trainer_core import hardware, places
    from trainer_core.jobs.queueing.entries import ALL
    from trainer_core.training import gpu as gpus

    return gpus.chosen(gpu, hardware.machine(places.home())) if gpu else ALL


def _show(queue: Queue, as_json: bool) -> None:
    from trainer_core import places
    from trainer_core.jobs.folder import JobFolder
    from trainer_core.jobs.queueing import entries, occupancy
    from trainer_core.training import labels

    running = [
        job for job in occupancy.unfinished(places.runs()) if occupancy.goes_on(job) and not queue.entry(job.name)
    ]
    rows: list[dict[str, Any]] = [
        {"run": job.name, "gpu": occupancy.gpu_of(job.folder), "position": 0, "state": job.state.name}
        for job in running
    ]
    rows += [
        {
            "run": each.run,
            "gpu": each.gpu,
            "position": queue.position(each.run),
            "state": "STARTING" if each.taken else "QUEUED",
        }
        for each in queue.entries
    ]
    for row in rows:
        row["name"] = labels.read(JobFolder(places.runs() / row["run"])).name
    if as_json:
        told = {
            "paused": sorted(queue.paused),
            "reasons": queue.reasons,
            "on_failure": "pause" if queue.stops_on_failure else "continue",
        }
        show.as_json({**told, "runs": rows})
        return
    if rows:
        columns = ("gpu", "position", "state", "run", "name")
        show.table(columns, ([row[name] or "" for name in columns] for row in sorted(rows, key=lambda row: row["gpu"])))
    else:
        show.line("Nothing runs, and nothing waits.")
    for gpu in sorted(queue.paused):
        where = "" if gpu == entries.ALL else f" of {entries.place(gpu)}"
        show.line(f"The queue{where} is paused. {queue.reasons.get(gpu, '')}".strip(), "yellow")
    if queue.paused:
        show.line(f"To go on: {entries.CONTINUE}", "dim")
    if queue.stops_on_failure:
        show.line("After a run that failed, the queue of its GPU pauses.", "dim")
        show.line("To change that: easel runs queue on-failure continue", "dim")
    _say_who_uses_the_gpu(queue, [job.folder.path.name for job in running])


def _say_who_uses_the_gpu(queue: Queue, running: Sequence[str]) -> None:
    """Other programs may use the memory of a GPU. The queue does not wait for their end, so the user should know."""
    if not queue.entries or running:
        return
    from trainer_core.estimate import find_gpu_processes

    names = sorted({process.name for process in find_gpu_processes()})
    if names:
        show.line(f"Other programs use GPU memory: {', '.join(names)}. The queue does not wait for them.", "dim")
