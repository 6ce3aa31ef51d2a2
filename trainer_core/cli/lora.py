"""`easel lora`: merges, resizes, converts and describes LoRAs and other networks."""

from __future__ import annotations

import click

from trainer_core.cli import lora_commands
from trainer_core.cli.packages import commands_in


@click.group()
def lora() -> None:
    """Merge, resize, convert and inspect LoRAs.

    Each command writes a new file as a separate job; the files that it reads are not changed.
    """


for command in commands_in(lora_commands):
    lora.add_command(command)
