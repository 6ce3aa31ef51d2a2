"""`easel runs compare`: what differs between runs, and how each of them ended."""

from __future__ import annotations

import sys
from typing import Any

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.text import size

TITLES = {
    "settings": "different settings",
    "versions": "different versions",
    "images": "different images",
    "results": "results",
}


@click.command("compare")
@click.argument("runs", nargs=-1)
@click.option("--sweep", default="", metavar="ID", help="Compare the runs of this sweep.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a table with one line for each run.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(runs: tuple[str, ...], sweep: str, as_csv: bool, as_json: bool) -> None:
    """Compare RUNS.

    First what differs between them is shown, then how each of them ended.
    """
    from trainer_core.cli.runs import find_run
    from trainer_core.errors import RunError, wrong_use
    from trainer_core.training.comparison import compare
    from trainer_core.training.sweep_end import runs_of

    chosen = [*map(find_run, runs), *runs_of(sweep)]
    if sweep and len(chosen) == len(runs):
        raise wrong_use(
            RunError(f"There is no sweep {sweep!r:.80}.", "`easel runs history --json` shows the sweep of each run.")
        )
    if not chosen:
        raise click.UsageError("Name the runs, or a sweep with --sweep.")
    found = compare(chosen)
    if as_json:
        show.as_json(found.as_dict())
    elif as_csv:
        sys.stdout.write(found.as_csv())
    else:
        for number, (run, called) in enumerate(zip(found.runs, found.called, strict=True), 1):
            show.line(f"{number}: {run}" + (f"  ({called})" if called else ""), "bold")
        for part, rows in found.parts().items():
            show.line(f"--- {TITLES[part]}", "bold")
            if rows:
                cells = [
                    (
                        row.title if row.title == row.key else f"{row.title} ({row.key})",
                        *(_text(value, row.key) for value in row.values),
                    )
                    for row in rows
                ]
                show.table(("", *map(str, range(1, len(found.runs) + 1))), cells)
            else:
                show.line("none")
        for sentence in found.caveats:
            show.line(sentence, "dim")


def _text(value: Any, key: str) -> str:
    if key.endswith("_bytes") and isinstance(value, int):
        return size(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "-" if value in (None, "") else show.value(value)
