"""`easel dataset`: checks and edits a folder of images and captions."""

from __future__ import annotations

import click

from trainer_core.cli import dataset_commands
from trainer_core.cli.packages import commands_in


@click.group()
def dataset() -> None:
    """Check and edit a folder of images and captions.

    Each edit can be taken back: `easel dataset undo`.
    """


for command in commands_in(dataset_commands):
    dataset.add_command(command)
