"""`easel remote`: buckets, endpoints that train, and machines that ssh reaches."""

from __future__ import annotations

import click

from trainer_core.cli import remote_commands
from trainer_core.cli.packages import commands_in


@click.group()
def remote() -> None:
    """Use buckets, RunPod endpoints and machines that ssh reaches.

    Keys and settings come from the environment, or from a file `.env` in the working folder.
    """


for command in commands_in(remote_commands):
    remote.add_command(command)
