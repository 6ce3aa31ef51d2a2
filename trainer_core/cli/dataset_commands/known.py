"""`easel dataset known`: lists the datasets."""

from __future__ import annotations

import dataclasses
import time

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.text import size


@click.command("known")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(as_json: bool) -> None:
    """List your datasets: those in Easel's own folder, and the last used."""
    from trainer_core.curation import known

    found = known.datasets()
    if as_json:
        show.as_json([dataclasses.asdict(one) for one in found])
        return
    if not found:
        show.line("There is no dataset yet. `easel dataset new NAME SOURCE` makes one.")
        return
    show.table(
        ("dataset", "images", "captions", "size", "changed", "folder"),
        (
            (
                one.name,
                f"{one.images:,}{'+' if one.is_partial else ''}",
                f"{one.captions:,}",
                size(one.bytes),
                time.strftime("%Y-%m-%d %H:%M", time.localtime(one.time)),
                str(one.path),
            )
            for one in found
        ),
    )
