"""`easel remote`: buckets, and endpoints that train."""

from __future__ import annotations

import click

from trainer_core.cli import remote_commands
from trainer_core.cli.packages import commands_in


@click.group()
def remote() -> None:
    """Use buckets and RunPod endpoints.

    Keys and settings come from the environment, or from a file `.env` in the working folder.
    """


for command in commands_in(remote_commands):
    remote.add_command(command)
