"""`easel settings`: every setting of a job and every option of the engine that trains it; searched by text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli import show
from trainer_core.cli.job import bench_from, job_options
from trainer_core.cli.options import JSON_HELP

if TYPE_CHECKING:
    from trainer_core.prepare.all_settings import Row


@click.command()
@job_options
@click.option(
    "--find", default="", metavar="TEXT", help="Only settings with all of these words in name, title, help or option."
)
@click.option("--mine", is_flag=True, help="Only those that you set.")
@click.option("--changed", is_flag=True, help="Only those that differ from their default.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def settings(
    plan_file: Path | None,
    assignments: tuple[str, ...],
    find: str,
    mine: bool,
    changed: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """List every setting with its value and source.

    With a model (--model) and perhaps an engine, that includes every option of the engine's own program: those that can be set
    (--set native.<engine>.<option>=<value>), those that follow from a setting, and those that are refused, with the reason.
    """
    from trainer_core.prepare import all_settings

    bench = bench_from(plan_file, assignments, options)
    found = all_settings.rows(bench.state, bench.problems)
    wanted = all_settings.fitting(found, find, mine=mine, changed=changed)
    if as_json:
        show.as_json([row.as_dict() for row in wanted])
        return
    _show(wanted)
    if bench.state.backend is None:
        show.line("The engine's own options are listed once the model is known: easel settings --model FILE.", "dim")
    show.line(f"{len(wanted)} of {len(found)} settings.", "dim")


def _show(rows: Sequence[Row]) -> None:
    heading = ""
    for row in rows:
        title = f"{row.group_title}: {row.topic}" if row.topic else row.group_title
        if title != heading:
            show.line()
            show.line(title, "bold")
            heading = title
        whose = "the engine's default" if row.path.startswith("native.") else "Easel's default"
        value = row.shown or (f"{row.default} ({whose})" if row.default else "not set")
        show.line(f"{row.path} = {value}   [{row.source or 'empty'}]")
        theirs = f"The engine's own default: {row.engine_default}." if row.engine_default else ""
        for text in filter(None, (row.help, row.note, theirs, row.why_not or row.reason, row.problem)):
            show.line(f"    {text}", "" if text == row.problem else "dim")
