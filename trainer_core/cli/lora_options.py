"""What the options of several commands of `easel lora` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from trainer_core.cli import making
from trainer_core.cli.options import known_family
from trainer_core.text import printable

NAMING = click.Choice(["sd-scripts", "diffusers", "comfyui"])
DTYPE = click.Choice(["same", "fp32", "fp16", "bf16"])
METHOD = click.Choice(["rank", "sv_fro", "sv_cumulative", "sv_ratio"])
BLOCKS = "NAME=WEIGHT"


def file_options(ending: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds the options for the new file and the family; `ending` is that of its usual name."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        function = click.option(
            "--out",
            "target",
            type=making.NEW_FILE,
            default="",
            metavar="PATH",
            help=f"The new file.  [default: next to the first file, with -{ending}]",
        )(function)
        return click.option(
            "--family",
            default="",
            callback=known_family,
            help="The family of the base model, if the file does not show it.",
        )(function)

    return add


def rank_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that choose a rank."""
    function = click.option(
        "--conv-rank", type=click.IntRange(1), default=None, help="The rank of convolutions.  [default: as --rank]"
    )(function)
    function = click.option(
        "--value", type=float, default=0.0, help="The number of the method: 0.95 keeps 95 %; a ratio for sv_ratio."
    )(function)
    return click.option(
        "--rank", type=click.IntRange(1), default=None, help="The rank; with another method, the largest one."
    )(function)


def chosen(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the user gave or that have a default; the others have that of the settings."""
    return {name: value for name, value in given.items() if value is not None}


def weights(texts: Sequence[str]) -> dict[str, float]:
    """Block weights by name, from texts such as IN04=0.5.

    Raises:
        click.UsageError: a text is something else.
    """
    found: dict[str, float] = {}
    for text in texts:
        for part in text.split(","):
            name, equals, number = part.rpartition("=")
            try:
                found[name.strip()] = float(number)
            except ValueError:
                equals = ""
            if not equals or not name.strip():
                raise click.UsageError(
                    f"{printable(part, 60)!r}: write a block and its weight, such as IN04=0.5 or OUT*=0."
                )
    return found
