"""`easel remote actor`: trains actors on RunPod."""

from __future__ import annotations

import click

from trainer_core.cli.style_training import train_command


@click.group("actor")
def command() -> None:
    """Train actors on RunPod, by their selection sets."""


command.add_command(train_command("custom-actors", "actor"))
