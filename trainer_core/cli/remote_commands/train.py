"""`easel remote train`: a training run on another machine, with the options of `easel train`."""

from __future__ import annotations

import click


@click.command("train", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--json", "as_json", is_flag=True, help="Print the run's folder, or its result, as JSON.")
@click.argument("where")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def command(where: str, options: tuple[str, ...], as_json: bool) -> None:
    """Start a training run on another machine.

    It is followed here, as with `easel train OPTIONS --on WHERE`. WHERE is user@host, or KIND:NAME. OPTIONS are those of
    `easel train`. The result is delivered on this machine; the training goes on when this machine is off.
    """
    from trainer_core.cli.job import train

    more = ["--json"] if as_json and "--json" not in options else []
    train.main([*options, *more, "--on", where], prog_name=f"easel remote train {where}", standalone_mode=False)
