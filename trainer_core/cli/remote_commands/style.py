"""`easel remote style`: trains styles on RunPod."""

from __future__ import annotations

import click

from trainer_core.cli.style_training import train_command


@click.group("style")
def command() -> None:
    """Train styles on RunPod, by their selection sets."""


command.add_command(train_command("custom-styles", "style"))
