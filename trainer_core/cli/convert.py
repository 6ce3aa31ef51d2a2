"""`easel convert`: another form of a model file, and the check of its numbers."""

from __future__ import annotations

import sys

import click

from trainer_core.cli import jobs, making, show
from trainer_core.errors import JobError, WeightsError
from trainer_core.weights.conversion.wishes import DTYPES, FORMS, KEPT, NAMES

UNSOUND = 1
"""The exit code for a model with numbers that are NaN or infinite."""


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--out", "target", type=making.NEW_FILE, default="", help="The new file or folder. Default: beside the first FILE."
)
@click.option(
    "--form", type=click.Choice([name for name in FORMS if name]), default=None, help="The form of the new model."
)
@click.option("--dtype", type=click.Choice([name for name in DTYPES if name]), default=None, help="Default: as it is.")
@click.option("--keep", multiple=True, type=click.Choice(KEPT), help="What keeps its dtype; can be repeated.")
@click.option(
    "--prune",
    type=click.Choice(["weights", "ema"]),
    default=None,
    help="Leave out what training left: keep the weights, or their average (EMA) in their place.",
)
@click.option(
    "--names",
    type=click.Choice([name for name in NAMES if name]),
    default=None,
    help="original: rename the tensors as engines read them, norms and prefixes included. --dry-run says what.",
)
@click.option("--dequantise", is_flag=True, help="Allow quantised GGUF weights; the result is not exact.")
@click.option("--family", default="", help="The family, for a model that does not show it.")
@click.option(
    "--prediction", type=click.Choice(["epsilon", "v_prediction"]), default=None, help="What the model predicts."
)
@click.option("--shard-gb", type=float, default=5.0, show_default=True, help="The largest size of a shard.")
@click.option("--tokenizers", default="", help="A folder of a model whose tokenizers are copied.")
@click.option("--check", is_flag=True, help="Only look for damage in the numbers of FILE.")
@making.options
def convert(
    *,
    files: tuple[str, ...],
    target: str,
    form: str | None,
    dtype: str | None,
    keep: tuple[str, ...],
    prune: str | None,
    names: str | None,
    dequantise: bool,
    family: str,
    prediction: str | None,
    shard_gb: float,
    tokenizers: str,
    check: bool,
    dry_run: bool,
    detach: bool,
    as_json: bool,
) -> None:
    """Make another form of a model FILE.

    FILE is a safetensors, .ckpt or GGUF file, the folder or index of a model in several files, or a folder in the diffusers layout. More
    FILEs are parts, such as a VAE, that are put into the new file. FILE itself is not changed. The output is the path of the
    new file or folder.
    """
    from trainer_core.tools import convert as tool

    if check:
        _check(files, as_json)
        return
    settings = tool.Settings(
        files=files,
        target=target,
        form=form or "",
        dtype=dtype or "",
        keep=keep,
        prune=prune or "",
        names=names or "",
        dequantise=dequantise,
        family=family,
        prediction=prediction or "",
        shard_gb=shard_gb,
        tokenizers=tokenizers,
    )
    found = tool.outlook(settings)
    if dry_run:
        making.show_outlook(found, as_json)
        return
    if detach and not as_json:
        for note in found.notes:
            show.line(note)
    making.finish(tool.start(settings), detach, as_json)


def _check(files: tuple[str, ...], as_json: bool) -> None:
    """Shows what is in the numbers of a model."""
    from trainer_core.tools import check_weights as tool

    file, *others = files
    if others:
        raise WeightsError("--check takes one file.", "Check the files one after another.")
    job = tool.start(tool.Settings(file=file))
    jobs.watch(job, quiet=as_json, stops=True)
    report = tool.report_of(job.folder)
    if report is None:
        told = (job.result or {}).get("diagnosis") or {}
        raise JobError(str(told.get("cause", "The model was not checked.")), str(told.get("advice", "")))
    said = tool.words(report)
    if as_json:
        show.as_json({**report, "words": said})
    else:
        for sentence in said:
            show.line(sentence)
    if report["nan"] or report["infinite"]:
        sys.exit(UNSOUND)
