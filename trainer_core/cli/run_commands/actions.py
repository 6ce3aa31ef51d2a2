"""`easel runs actions`: what can be done with a run now, and what each of it does."""

from __future__ import annotations

import click

from trainer_core.cli.options import JSON_HELP


@click.command("actions")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(name: str, as_json: bool) -> None:
    """Show what can be done with a run now.

    Each action says what it does, or why it is not possible.
    """
    from trainer_core.cli import show
    from trainer_core.cli.runs import find_run
    from trainer_core.training import actions

    run = find_run(name)
    found = (*actions.of_live(run), *actions.of_ended(run))
    if as_json:
        show.as_json({"run": run.name, "state": run.state.name, "actions": [each.as_dict() for each in found]})
        return
    for each in found:
        show.line(f"{each.title} ({each.brief})", "bold" if each.possible else "dim")
        show.line(f"  {each.sentence}")
