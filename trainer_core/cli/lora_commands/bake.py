"""`easel lora bake`: adds networks to the weights of a model, as a job."""

from __future__ import annotations

import click

from trainer_core.cli import making
from trainer_core.tools import bake as baking
from trainer_core.tools.bake import Settings
from trainer_core.weights.dtypes import CHOICES


@click.command("bake")
@click.argument("model")
@click.argument("networks", nargs=-1, required=True)
@click.option("--strength", "strengths", multiple=True, type=float, help="Of each network, in their order. Default: 1.")
@click.option(
    "--text-strength", "text", multiple=True, type=float, help="For the text encoders. Default: the same as --strength."
)
@click.option(
    "--block",
    "blocks",
    multiple=True,
    metavar="NAME=NUMBER",
    help="Multiply the strength in blocks, such as IN04=0.5 or OUT*=0, or in layers whose names begin so, such as double_blocks.3=0.5. Can be repeated.",
)
@click.option("--out", "target", type=making.NEW_FILE, default="", help="The new file. Default: one next to the model.")
@click.option(
    "--dtype",
    default="same",
    show_default=True,
    type=click.Choice(list(CHOICES)),
    help="The precision of the new file.",
)
@click.option("--family", default="", help="The family, such as sdxl, if the files do not show it.")
@click.option("--skip-missing", "skip", is_flag=True, help="Leave out modules for which the model has no layer.")
@making.options
def command(  # noqa: PLR0917 - click gives them by name
    model: str,
    networks: tuple[str, ...],
    strengths: tuple[float, ...],
    text: tuple[float, ...],
    blocks: tuple[str, ...],
    target: str,
    dtype: str,
    family: str,
    skip: bool,
    dry_run: bool,
    detach: bool,
    as_json: bool,
) -> None:
    """Add networks to MODEL, as a new model.

    Every kind works: LoRA, LoCon, LoHa, LoKr, DoRA, OFT, BOFT, IA3, GLoRA and full differences. MODEL is a checkpoint, the file of one
    part, such as a denoiser, or a folder in the diffusers layout, of which the result is one, too. The changes are added in fp32 and rounded once; all else is
    copied byte for byte.
    """
    settings = Settings(
        model=model,
        networks=networks,
        strengths=_each(strengths, len(networks), "--strength"),
        text_strengths=_each(text, len(networks), "--text-strength"),
        blocks=dict(_pair(each) for each in blocks),
        target=target,
        dtype=dtype,
        family=family,
        skip=skip,
    )
    making.make(baking, settings, dry_run=dry_run, detach=detach, as_json=as_json)


def _each(values: tuple[float, ...], count: int, option: str) -> tuple[float, ...]:
    """One value for each network; a single one is for all."""
    if len(values) not in (0, 1, count):
        raise click.UsageError(
            f"{option} was given {len(values)} times for {count} networks: give it once, or once for each."
        )
    return values * count if len(values) == 1 else values


def _pair(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise click.UsageError(
            f"--block {text!r:.80} is not NAME=NUMBER, such as IN04=0.5 or double_blocks.3=0.5."
        ) from error
