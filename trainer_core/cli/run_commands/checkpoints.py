"""`easel runs checkpoints`: the checkpoints of a run, and which can be used."""

from __future__ import annotations

import click

from trainer_core.cli.options import JSON_HELP


@click.command("checkpoints")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(name: str, as_json: bool) -> None:
    """List the checkpoints of a run.

    Of each: its step, its size, whether it can be used, where it was delivered, and whether you marked it as the best.
    """
    from trainer_core.cli import show
    from trainer_core.cli.runs import find_run
    from trainer_core.estimate.formatting import size_mib
    from trainer_core.training import choice
    from trainer_core.training.bare_part import note
    from trainer_core.training.use import removal, saved

    run = find_run(name)
    every, best = saved(run), choice.read(run.folder).best
    if as_json:
        show.as_json([{**one.as_dict(), "best": one.step == best} for one in every])
    elif not every:
        show.line(f"The run {run.name} has no checkpoint.")
    else:
        words = {True: "usable", False: "not usable", None: "not tested"}
        rows = (
            (
                f"{one.step}{' (best)' if one.step == best else ''}",
                size_mib(one.size_bytes / 2**20),
                words[one.ok],
                str(one.delivered or "no"),
            )
            for one in every
        )
        show.table(("step", "size", "test", "delivered"), rows)
        for one in every:
            if one.ok is False:
                show.line(f"step {one.step}: {' '.join(one.reasons)}", "yellow")
        if part := next(filter(None, (note(one.path, run.folder.plan) for one in every)), ""):
            show.line(part)
    if not as_json and (gone := removal(run)):
        show.line(gone)
