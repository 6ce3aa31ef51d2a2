"""`easel runs note`: write something down about a run."""

from __future__ import annotations

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP


@click.command("note")
@click.argument("run")
@click.argument("text", required=False)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(run: str, text: str | None, as_json: bool) -> None:
    """Show or change the note of RUN.

    TEXT replaces the former note; an empty TEXT removes it.
    """
    from trainer_core.cli.runs import find_run
    from trainer_core.training import labels

    folder = find_run(run).folder
    known = labels.read(folder) if text is None else labels.change(folder, lambda before: before.noted(text))
    if as_json:
        show.as_json({"run": folder.path.name, **known.as_dict()})
        return
    if text is None:
        for line in known.note.splitlines() or ["There is no note."]:
            show.line(line)
        return
    show.line(f"The note of {folder.path.name} was {'written' if text.strip() else 'removed'}.")
