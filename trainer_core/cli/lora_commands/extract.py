"""`easel lora extract`: makes a LoRA of the difference between two models, as a job."""

from __future__ import annotations

import click

from trainer_core.cli import making
from trainer_core.tools import extract as extracting
from trainer_core.tools.extract import DTYPES, Settings
from trainer_core.weights.merging.inputs import PREDICTIONS
from trainer_core.weights.networks.naming import NAMINGS


@click.command("extract")
@click.argument("tuned")
@click.argument("base")
@click.option("--rank", default=32, show_default=True, help="The rank of each module; with --energy the highest one.")
@click.option(
    "--conv-rank", default=0, show_default=True, help="The rank of convolutions over several pixels; 0: none."
)
@click.option(
    "--energy",
    default=0.0,
    show_default=True,
    help="The smallest rank that has this share of the squared difference of a layer, such as 0.95; 0: always --rank.",
)
@click.option("--no-denoiser", is_flag=True, help="Leave out the denoiser.")
@click.option("--no-text", is_flag=True, help="Leave out the text encoders.")
@click.option(
    "--least", default=0.0, show_default=True, help="Leave out layers whose relative difference is at most this."
)
@click.option(
    "--naming", default="sd-scripts", show_default=True, type=click.Choice(NAMINGS), help="The names of the tensors."
)
@click.option(
    "--dtype", default="fp16", show_default=True, type=click.Choice(list(DTYPES)), help="The precision of the new file."
)
@click.option(
    "--out", "target", type=making.NEW_FILE, default="", help="The new file. Default: one next to the tuned model."
)
@click.option("--family", default="", help="The family, such as sdxl, if the files do not show it.")
@click.option(
    "--prediction",
    default="",
    type=click.Choice(PREDICTIONS),
    help="What the models predict whose files do not say it.",
)
@making.options
def command(  # noqa: PLR0917 - click gives them by name
    tuned: str,
    base: str,
    rank: int,
    conv_rank: int,
    energy: float,
    no_denoiser: bool,
    no_text: bool,
    least: float,
    naming: str,
    dtype: str,
    target: str,
    family: str,
    prediction: str,
    dry_run: bool,
    detach: bool,
    as_json: bool,
) -> None:
    """Make a LoRA that turns BASE into TUNED.

    Both are models of the same family; BASE is the model from which TUNED was trained. Each layer's difference is decomposed, so that no
    LoRA of that rank comes closer. The file made.json in the folder of the job says how much of each layer is missing.
    """
    settings = Settings(
        tuned=tuned,
        base=base,
        target=target,
        rank=rank,
        conv_rank=conv_rank,
        energy=energy,
        denoiser=not no_denoiser,
        text=not no_text,
        naming=naming,
        dtype=dtype,
        least=least,
        family=family,
        prediction=prediction,
    )
    making.make(extracting, settings, dry_run=dry_run, detach=detach, as_json=as_json)
