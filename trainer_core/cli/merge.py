"""`easel merge`: merges two or three checkpoints into a new one, as a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from trainer_core import places
from trainer_core.cli import making
from trainer_core.models import header
from trainer_core.tools import merge as merging
from trainer_core.tools import recipe
from trainer_core.tools.merge import Settings
from trainer_core.weights.dtypes import CHOICES
from trainer_core.weights.merging import blocks as block_table
from trainer_core.weights.merging.inputs import PREDICTIONS
from trainer_core.weights.merging.methods import PARTS, methods

METHODS = "\n\n\b\n" + "\n".join(f"{row.id:17}{row.formula}" for row in methods().values())


@click.command(
    help="Merge two or three checkpoints into a new one.\n\nMODELS are A, B and, where the method takes three, C. "
    "All must be of the same family. The models are not changed, and the result replaces no file. "
    f"Everything that decides about the result is in its metadata, from which --recipe makes it again.\n\nMethods:{METHODS}"
)
@click.argument("models", nargs=-1)
@click.option(
    "--out", "target", type=making.NEW_FILE, default="", help="The new file. Default: one in Easel's models folder."
)
@click.option(
    "--method",
    default="weighted_sum",
    show_default=True,
    type=click.Choice(list(methods())),
    help="How the weights are computed.",
)
@click.option("--set", "parameters", multiple=True, metavar="NAME=NUMBER", help="A parameter, such as weight=0.3.")
@click.option("--preset", default="", help=f"Weights by block: {', '.join(block_table.presets())}.")
@click.option("--blocks", default="", metavar="LIST", help="IN0*=0.2,OUT*=0.8, or all weights, that of BASE first.")
@click.option("--part", "parts", multiple=True, metavar="PART=WAY", help=f"{', '.join(PARTS)}: merge, a, b or c.")
@click.option("--vae", default="", help="A VAE that replaces that of the models.")
@click.option(
    "--dtype", default="same", show_default=True, type=click.Choice(list(CHOICES)), help="Of the weights of the result."
)
@click.option(
    "--prediction",
    default=None,
    type=click.Choice(PREDICTIONS[1:]),
    help="What the models predict whose files do not say it.",
)
@click.option("--seed", default=0, show_default=True, help="Of the random numbers of DARE.")
@click.option(
    "--recipe",
    "recipe_file",
    default="",
    metavar="FILE",
    help="Make a merged file again, from itself or its recipe as JSON.",
)
@click.option("--search", multiple=True, metavar="FOLDER", help="Where --recipe looks for its models; can be repeated.")
@making.options
def merge(  # noqa: PLR0917 - click gives them by name
    models: tuple[str, ...],
    recipe_file: str,
    search: tuple[str, ...],
    target: str,
    parameters: tuple[str, ...],
    blocks: str,
    parts: tuple[str, ...],
    dry_run: bool,
    detach: bool,
    as_json: bool,
    method: str,
    preset: str,
    vae: str,
    dtype: str,
    prediction: str | None,
    seed: int,
) -> None:
    """Merges checkpoints."""
    if recipe_file:
        if models or parameters or blocks or parts:
            raise click.UsageError("--recipe has the models and the settings already: give only --out and --search.")
        settings = _again(recipe_file, search, target)
    else:
        if len(models) < 2:
            raise click.UsageError("Name at least two models: easel merge A.safetensors B.safetensors")
        by_label, in_order = _blocks(blocks)
        settings = Settings(
            models=models,
            target=target,
            parameters=_numbers(parameters, "--set"),
            blocks=by_label,
            block_weights=in_order,
            parts=_pairs(parts, "--part"),
            method=method,
            preset=preset,
            vae=vae,
            dtype=dtype,
            prediction=prediction or "",
            seed=seed,
        )
    making.make(merging, settings, dry_run=dry_run, detach=detach, as_json=as_json)


def _again(file: str, search: Sequence[str], target: str) -> Settings:
    """The settings that make a file again, from its metadata or from JSON."""
    path = places.typed(file)
    if path.suffix == ".json":
        text = path.read_bytes()[: recipe.LARGEST_RECIPE + 1].decode("utf-8", "replace")
    else:
        text = header.read_file(path).metadata.get(recipe.KEY, "")
    folders = [*(places.typed(each) for each in search), path.absolute().parent]
    folders += sorted(folder for folder in places.models().glob("*") if folder.is_dir())
    free = path.absolute().with_name(f"{path.stem}-again.safetensors")
    return merging.again(text, folders, target or str(free))


def _blocks(text: str) -> tuple[dict[str, float], tuple[float, ...]]:
    """Block weights as the user typed them: by label, or a list of all."""
    if "=" in text:
        return dict(_numbers(text.split(","), "--blocks")), ()
    return {}, tuple(_number(each, "--blocks") for each in text.split(",")) if text else ()


def _numbers(texts: Sequence[str], option: str) -> dict[str, float]:
    return {name: _number(value, option) for name, value in _pairs(texts, option).items()}


def _pairs(texts: Sequence[str], option: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise click.UsageError(f"{option} needs a name and a value, such as weight=0.3, not {text!r:.60}.")
        found[name.strip()] = value.strip()
    return found


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.UsageError(f"{option}: {text!r:.40} is not a number.") from None
