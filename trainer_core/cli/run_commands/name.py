"""`easel runs name`: give a run a name of your own."""

from __future__ import annotations

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP


@click.command("name")
@click.argument("run")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(run: str, name: str, as_json: bool) -> None:
    """Give RUN a name, by which every command finds it. An empty NAME removes it.

    The name is only for you: files and folders keep theirs.
    """
    from trainer_core.cli.runs import find_run
    from trainer_core.training import labels

    folder = find_run(run).folder
    labels.check_name(folder, name)
    named = labels.change(folder, lambda known: known.named(name))
    if as_json:
        show.as_json({"run": folder.path.name, **named.as_dict()})
        return
    show.line(f"{folder.path.name} is called {named.name}." if named.name else f"{folder.path.name} has no name.")
