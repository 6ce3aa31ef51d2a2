"""`easel runs name`: give a run a name of your own."""

from __future__ import annotations

import click

from trainer_core.cli import show


@click.command("name")
@click.argument("run")
@click.argument("name")
def command(run: str, name: str) -> None:
    """Give RUN a name, by which every command finds it. An empty NAME removes it.

    The name is only for you: files and folders keep theirs.
    """
    from trainer_core.cli.runs import find_run
    from trainer_core.training import labels

    folder = find_run(run).folder
    labels.check_name(folder, name)
    named = labels.change(folder, lambda known: known.named(name))
    show.line(f"{folder.path.name} is called {named.name}." if named.name else f"{folder.path.name} has no name.")
