"""`easel lora upload`: uploads a LoRA or another network to Hugging Face, with a model card."""

from __future__ import annotations

from typing import Any

import click

from trainer_core.cli import uploading
from trainer_core.cli.options import known_family


@click.command("upload")
@click.argument("file")
@click.option(
    "--family", default="", callback=known_family, help="The family of the base model, if the file does not show it."
)
@uploading.options
def command(file: str, family: str, **wanted: Any) -> None:
    """Upload the LoRA in FILE to Hugging Face.

    It gets a model card with what its layers and its metadata show; --show-card prints it, and --card takes a changed one.
    `easel runs upload` makes a better one of a run, with samples. Personal metadata is removed from the uploaded copy. The
    repository is private unless you say --public. The token comes from HF_TOKEN; it is in no argument, log or job folder.
    """
    from trainer_core.publishing import file_offer

    found = file_offer.offer(file, family)
    uploading.carry_out(found, found.name, ["with the card that --show-card prints", *found.notes()], wanted)
