"""`easel runs history`: every run with what it trained and how it ended."""

from __future__ import annotations

import dataclasses
import datetime as dt

import click

from trainer_core import places
from trainer_core.cli import job_times, show
from trainer_core.cli.options import JSON_HELP, Whole, known_family
from trainer_core.errors import JobError
from trainer_core.jobs import time_left
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.training.folder import WHERE
from trainer_core.training.history import Filter, PastRun, history
from trainer_core.training.run import Run


@click.command("history")
@click.option("--state", default="", metavar="STATE", help="Only runs in this state, such as completed or failed.")
@click.option("--family", default="", callback=known_family, help="Only runs of this model family.")
@click.option("--tag", default="", help="Only runs with this tag.")
@click.option(
    "--text", default="", help="Only runs with this text in a name, note, tag, subject, model file or setting (rank=8)."
)
@click.option(
    "--since", default="", metavar="DATE", help="Only runs since this day (2026-01-31), or of the last days (7d)."
)
@click.option("--sweep", default="", metavar="ID", help="Only the runs of this sweep.")
@click.option("--limit", type=Whole(), metavar="N", help="At most this many runs. Default: all.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(
    state: str, family: str, tag: str, text: str, since: str, sweep: str, limit: int | None, as_json: bool
) -> None:
    """Show what each run trained, and how it ended.

    With --json also every setting that differs from the default, the versions, and the peaks of memory.
    """
    if state and state.upper() not in JobState.__members__:
        known = ", ".join(each.value for each in JobState)
        raise click.BadParameter(f"{state!r:.50} is not a state. Known: {known}.", param_hint="--state")
    runs = history(wanted=Filter(state, family, tag, text, _moment(since), sweep))
    shown = [_as_now(run) for run in runs[:limit]]
    if as_json:
        show.as_json([run.as_dict() for run in shown])
        return
    if not shown:
        show.line("There is no such run." if any((state, family, tag, text, since, sweep)) else "There is no run yet.")
        return
    # Most people have no other machine.
    has_where = any(run.versions.get(WHERE) for run in shown)
    rows = [
        (
            run.run,
            run.labels.name,
            run.state.name,
            *([run.versions.get(WHERE, "")] if has_where else ()),
            run.family,
            f"{run.steps or '-'} of {run.total_steps}" if run.total_steps else "",
            time_left.span(run.seconds) if run.seconds else "",
            ", ".join(run.labels.tags),
            run.labels.note.partition("\n")[0][:60],
        )
        for run in shown
    ]
    on = ["on"] if has_where else ()
    show.table(("run", "name", "state", *on, "family", "steps", "time", "tags", "note"), rows)
    for run in shown:
        if run.damage:
            show.line(f"{run.run} is damaged. {run.damage}", "dim")


def _as_now(run: PastRun) -> PastRun:
    """The run; of one that has not ended with the step, the smoothed loss and the time that it has reached."""
    if run.state in FINAL_STATES:
        return run
    try:
        live = Run.attach(places.runs() / run.run)
        figures = live.figures
        known = job_times.times(live, run.state, figures)
    except JobError:
        return run
    return dataclasses.replace(
        run, steps=figures["step"], loss=figures.get("smoothed_loss"), seconds=known["seconds"] or 0.0
    )


def _moment(text: str) -> float:
    """The time of a day, or of a number of days ago, in seconds since 1970; 0 for ""."""
    now = dt.datetime.now().astimezone()
    try:
        if not text:
            return 0.0
        if text.endswith("d"):
            return (now - dt.timedelta(days=float(text[:-1]))).timestamp()
        return dt.datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError) as error:
        message = f"{text!r:.50} is not a day. Write it as 2026-01-31 or 7d."
        raise click.BadParameter(message, param_hint="--since") from error
