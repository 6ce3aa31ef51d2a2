"""`easel runs note`: write something down about a run."""

from __future__ import annotations

import click

from trainer_core.cli import show


@click.command("note")
@click.argument("run")
@click.argument("text", required=False)
def command(run: str, text: str | None) -> None:
    """Show or change the note of RUN.

    TEXT replaces the former note; an empty TEXT removes it.
    """
    from trainer_core.cli.runs import find_run
    from trainer_core.training import labels

    folder = find_run(run).folder
    if text is None:
        for line in labels.read(folder).note.splitlines() or ["There is no note."]:
            show.line(line)
        return
    labels.change(folder, lambda known: known.noted(text))
    show.line(f"The note of {folder.path.name} was {'written' if text.strip() else 'removed'}.")
