"""`easel runs upload`: uploads a checkpoint of a run to Hugging Face, with a model card."""

from __future__ import annotations

from typing import Any

import click

from trainer_core.cli import uploading
from trainer_core.cli.options import Whole


@click.command("upload")
@click.argument("run")
@click.option(
    "--step", type=Whole(0), default=None, help="The step of the checkpoint. Default: the best, else the final one."
)
@click.option("--no-samples", is_flag=True, help="Upload no sample images.")
@uploading.options
def command(run: str, step: int | None, no_samples: bool, **wanted: Any) -> None:
    """Upload a checkpoint of RUN to Hugging Face.

    It gets a model card with the trigger word, the settings and the samples of its step; --show-card prints it, and --card
    takes a changed one. Personal metadata is removed from the uploaded copy. The repository is private unless you say
    --public. The token comes from HF_TOKEN; it is in no argument, log or run folder.
    """
    from trainer_core.cli.runs import find_run
    from trainer_core.publishing import offer

    found = offer.offer(find_run(run), step, with_samples=not no_samples)
    more = [f"with {len(found.samples)} sample images and the card that --show-card prints"]
    uploading.carry_out(found, f"{found.name} of step {found.made.step}", more, wanted)
