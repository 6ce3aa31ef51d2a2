"""`easel runs versions`: the runs of one subject as numbered versions."""

from __future__ import annotations

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP

COLUMNS = {
    "version": "version",
    "name": "name",
    "started": "timestamp",
    "state": "status",
    "images": "imageCount",
    "file": "loraUrl",
    "run": "id",
}
"""The headings of the table, and the entry that each shows."""


@click.command("versions")
@click.argument("subject", required=False)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(subject: str | None, as_json: bool) -> None:
    """Show the runs of SUBJECT as versions v1, v2 and so on.

    Without SUBJECT, all subjects are shown. A subject is the trigger word, the name of the dataset's folder if there is none, or the name of the result.
    """
    from trainer_core.training import versions

    if subject is None:
        counts = versions.subjects()
        if as_json:
            show.as_json({"subjects": counts})
        else:
            show.table(("subject", "versions"), counts.items())
        return
    found = versions.versions_of(subject)
    if as_json:
        show.as_json({"versions": found})
    elif not found:
        show.line(f"There is no run of {subject}.")
    else:
        rows = ([row[key] if row[key] is not None else "" for key in COLUMNS.values()] for row in found)
        show.table(COLUMNS, rows)
