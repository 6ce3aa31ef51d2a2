"""`easel runs save`: asks the engine of a running run for a checkpoint."""

from __future__ import annotations

import click

from trainer_core.cli.options import JSON_HELP


@click.command("save")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(name: str, as_json: bool) -> None:
    """Ask the engine of a running run for a checkpoint.

    Not every engine can be asked; the message says what it does and when, or why it cannot.
    """
    from trainer_core.cli.requesting import request

    request(name, "save", as_json)
