"""`easel files`: lists, moves, deletes and restores the files in the folders that Easel works with."""

from __future__ import annotations

import click

from trainer_core.cli import file_commands
from trainer_core.cli.packages import commands_in


@click.group()
def files() -> None:
    """List, move, delete and restore files.

    A file is named by its folder and its path in it, such as models/loras/elena.safetensors, or by any path. The folders are
    models, outputs, datasets, runs, and the model folders of other programs: `easel files list` shows them.
    """


for command in commands_in(file_commands):
    files.add_command(command)
