"""`easel runs`: list, show, follow and stop runs, from any terminal."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from trainer_core import places
from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.errors import RunError
from trainer_core.runs.run import FINAL_STATES, Run, RunState, list_runs
from trainer_core.runs.summary import RunSummary
from trainer_core.text import printable

POLL_S = 0.25


def find_run(name: str) -> Run:
    """The run of that name, of the only name that ends so, or the newest for "last".

    Raises:
        RunError: none or more than one fits.
    """
    if places.is_there(Path(name) / "spec.json"):
        return Run.attach(Path(name))
    known = list_runs(places.runs())
    if name == "last":
        if not known:
            raise RunError(f"There is no run in {places.runs()} yet.", "`easel train` and the notebooks start one.")
        return known[0]
    exact = [run for run in known if run.directory.path.name == name]
    fitting = exact or [run for run in known if run.directory.path.name.endswith(name)]
    if len(fitting) != 1:
        what = "No run is" if not fitting else f"{len(fitting)} runs are"
        raise RunError(f"{what} called {name!r:.100}.", "`easel runs list` names them all.")
    return fitting[0]


def follow_run(run: Run, quiet: bool = False) -> None:
    """Shows a run's progress until it ends. Ctrl+C stops the watching, not the run."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
    )
    try:
        with Progress(*columns, console=show.out, disable=quiet) as bar:
            task = bar.add_task("starting", total=None, loss="")
            while True:
                ended = run.state in FINAL_STATES
                summary = run.summary
                loss = "" if summary.loss is None else f"loss {summary.loss:.4f}"
                phase = printable(summary.phase or "starting", 30)
                bar.update(task, description=phase, completed=summary.step, total=summary.total or None, loss=loss)
                if ended:
                    return
                time.sleep(POLL_S)
    except KeyboardInterrupt:
        name = run.directory.path.name
        show.line(
            f"\nThe run goes on. `easel runs follow {name}` shows it again, `easel runs stop {name}` ends it.".strip()
        )
        sys.exit(0)


def run_result(run: Run, as_json: bool) -> int:
    """Prints how a run ended and returns the exit code: 0 completed, 1 anything else."""
    result = run.result
    state = run.state
    if as_json:
        show.as_json(
            {"run": run.directory.path.name, "folder": run.directory.path, "state": state.name, "result": result}
        )
        return 0 if state is RunState.COMPLETED else 1
    show.line(f"{state.name}: {run.directory.path.name}", "bold green" if state is RunState.COMPLETED else "bold red")
    for file in (result or {}).get("outputs", []):
        show.line(f"  {file}")
    for notice in (result or {}).get("notices", []):
        show.line(f"  {notice}", "yellow")
    diagnosis = run.diagnosis
    if diagnosis is not None:
        show.line(f"  what happened: {diagnosis.cause}")
        if diagnosis.line:
            show.line(f"  because the log says: {diagnosis.line}")
        show.line(f"  what to do: {diagnosis.advice}")
    if result:
        peak = (result.get("peak_memory_bytes") or 0) / 1024**3
        show.line(f"  {result.get('seconds', 0):.0f} s, {peak:.1f} GiB of memory at most")
    return 0 if state is RunState.COMPLETED else 1


@click.group()
def runs() -> None:
    """List, watch and stop runs.

    A run is called by its name, by the end of its name, by its folder, or last.
    """


@runs.command("list")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def list_command(as_json: bool) -> None:
    """List the runs, newest first."""
    known = list_runs(places.runs())
    rows = [(run.directory.path.name, run.state.name, run.summary) for run in known]
    if as_json:
        show.as_json([{"run": name, "state": state, **dataclasses.asdict(summary)} for name, state, summary in rows])
    elif rows:
        show.table(("run", "state", "step"), ((name, state, _step(summary)) for name, state, summary in rows))
    else:
        show.line(f"There is no run in {places.runs()} yet.")


@runs.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def show_command(name: str, as_json: bool) -> None:
    """Show a run's state, figures and result."""
    run = find_run(name)
    if as_json:
        summary = dataclasses.asdict(run.summary)
        show.as_json(
            {"run": run.directory.path.name, "state": run.state.name, "summary": summary, "result": run.result}
        )
        return
    summary = run.summary
    show.line(f"{run.directory.path}")
    figures = (("loss", summary.loss), ("learning rate", summary.learning_rate))
    show.line(
        ", ".join([f"step {_step(summary)}", *(f"{name} {value}" for name, value in figures if value is not None)])
    )
    if run.state in FINAL_STATES:
        run_result(run, as_json=False)
    else:
        show.line(run.state.name)


def _step(summary: RunSummary) -> str:
    """How far a run is, as far as it has said."""
    return f"{summary.step} of {summary.total}" if summary.total else str(summary.step)


@runs.command()
@click.argument("name")
def follow(name: str) -> None:
    """Watch a run until it ends; Ctrl+C leaves it going."""
    run = find_run(name)
    follow_run(run)
    sys.exit(run_result(run, as_json=False))


@runs.command()
@click.argument("name")
@click.option("--grace", default=10.0, show_default=True, help="Seconds the engine gets to end by itself.")
def stop(name: str, grace: float) -> None:
    """End a run and every process of it."""
    run = find_run(name)
    run.stop(grace_s=grace)
    show.line(f"{run.directory.path.name}: {run.state.name}")
