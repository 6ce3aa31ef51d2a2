"""`easel dataset taggers`: the taggers and local captioners, and which of them are here."""

from __future__ import annotations

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP


@click.command("taggers")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(as_json: bool) -> None:
    """List the taggers and local captioners.

    `easel tools fetch-captioner --model NAME` fetches one, with what it needs to run.
    """
    from trainer_core.captioning import captioners, fetching, taggers, weights
    from trainer_core.install import tool_environments

    rows = []
    for row in (*taggers.taggers().values(), *captioners.captioners().values()):
        environment = fetching.environment_of(row)
        rows.append(
            {
                "model": row.id,
                "title": row.title,
                "purpose": row.purpose,
                "writes": "tags" if environment == taggers.ENVIRONMENT else "captions",
                "repository": row.repository,
                "size_gib": row.size_gib,
                "is_here": weights.look(row.id, row.files) is not None,
                "can_run": tool_environments.installed(environment) is not None,
                "licence": row.licence,
                "terms": row.terms,
            }
        )
    if as_json:
        show.as_json(rows)
        return
    show.table(
        ("model", "writes", "GiB", "here", "licence", "terms"),
        [
            (each["model"], each["writes"], f"{each['size_gib']:.1f}", _state(each["is_here"], each["can_run"]), each["licence"] or "see terms", each["terms"])
            for each in rows
        ],
    )  # fmt: skip


def _state(is_here: bool, can_run: bool) -> str:
    if is_here:
        return "yes" if can_run else "without its environment"
    return "no"
