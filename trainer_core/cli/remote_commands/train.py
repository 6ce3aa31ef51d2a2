"""`easel remote train`: a training run on another machine, with the options of `easel train`."""

from __future__ import annotations

import click


@click.command("train", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("where")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def command(where: str, options: tuple[str, ...]) -> None:
    """Start a training run on another machine.

    It is followed here, as with `easel train OPTIONS --on WHERE`. WHERE is user@host, or KIND:NAME. OPTIONS are those of `easel train`. The result is delivered on this machine; the training goes
    on when this machine is off.
    """
    from trainer_core.cli.job import train

    train.main([*options, "--on", where], prog_name=f"easel remote train {where}", standalone_mode=False)
