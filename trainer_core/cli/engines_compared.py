"""`easel backends compare`: which engine would train a job, and why the others would not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from trainer_core import places
from trainer_core.cli import show
from trainer_core.cli.job import bench_from, job_options
from trainer_core.cli.options import JSON_HELP


@click.command()
@job_options
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def compare(plan_file: Path | None, assignments: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Show which engine would train a job, and why not the others.

    A row for each engine says which files it needs and whether they are at hand, whether the job fits into memory, how fast
    earlier runs were, which settings would be lost, and how a run can be resumed. The last line says which one Easel proposes.
    """
    from trainer_core.estimate import past_runs
    from trainer_core.prepare import engine_rows

    bench = bench_from(plan_file, assignments, options)
    bench.look()
    found = engine_rows.table(bench, past_runs(places.runs()))
    if as_json:
        show.as_json(found.as_dict())
        return
    show.table(found.headings, (row.cells for row in found.rows))
    for row in found.rows:
        for sentence in row.reasons:
            named = sentence if sentence.startswith(row.standing.title) else f"{row.standing.title}: {sentence}"
            show.line(named, "dim")
    show.line(found.reason)
