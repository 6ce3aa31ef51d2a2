"""`easel lora inspect`: shows what is in a LoRA."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP, known_family
from trainer_core.text import amount, plain_number, size

if TYPE_CHECKING:
    from trainer_core.weights.lora.report import LayerReport, Report


@click.command("inspect")
@click.argument("file")
@click.option("--layers", "shows_layers", is_flag=True, help="Also list every layer.")
@click.option(
    "--family", default="", callback=known_family, help="The family of the base model, if the file does not show it."
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(file: str, *, shows_layers: bool, family: str, as_json: bool) -> None:
    """Show what is in a LoRA.

    Its rank and strength by block, a smaller rank that would be enough, the settings of the training, words that probably
    trigger it, hashes, and whether ComfyUI and diffusers load it.
    """
    from trainer_core.tools import lora_inspect as tool

    found = tool.inspect(tool.Settings(file=file, family=family))
    if as_json:
        show.as_json(found.as_dict())
        return
    _show(found)
    if shows_layers:
        show.table(
            ("layer", "block", "kind", "rank", "alpha", "norm", "90 %", "95 %", "99 %", "problem"),
            map(_row, found.layers),
        )


def _show(found: Report) -> None:
    rank = f", rank {found.rank}" if found.rank else ""
    family = found.family or "an unknown family"
    show.line(f"{found.name}: {found.kind}{rank} for {family}", "bold")
    show.line(f"{size(found.size_bytes)}, {amount(len(found.layers), 'layer')}, {', '.join(found.dtypes)}")
    for note in found.notes:
        show.line(note, "yellow")
    rows = (
        (
            each.block,
            each.layers,
            _span(each.least_rank, each.most_rank),
            plain_number(each.norm, 4),
            f"{each.share:.1%}",
        )
        for each in found.blocks
    )
    show.table(("block", "layers", "rank", "norm", "share"), rows)
    for each in found.suggestions:
        show.line(each.sentence)
    smaller = ((each.rank, size(each.size_bytes), f"{each.error:.1%}") for each in found.smaller)
    if found.smaller:
        show.table(("smaller rank", "file", "error"), smaller)
    if found.facts:
        show.table(("training", ""), found.facts)
    if found.triggers:
        show.table(("likely trigger", "in captions"), _triggers(found))
    for answer in found.loading:
        show.line(f"{answer.program}: {answer.loads}. {answer.reason}".strip())
    show.table(("hash", ""), found.hashes.items())


def _triggers(found: Report) -> Iterator[tuple[str, str]]:
    for each in found.triggers:
        yield each.text, "stated in the file" if each.share is None else f"{each.share:.0%}"


def _row(each: LayerReport) -> tuple[object, ...]:
    alpha = "" if each.alpha is None else f"{each.alpha:g}"
    norm = "" if each.norm is None else plain_number(each.norm, 4)
    carried = (each.directions.get(share, "") for share in (90, 95, 99))
    return (each.key, each.block, each.kind, each.rank or "", alpha, norm, *carried, each.problem)


def _span(least: int, most: int) -> str:
    if not most:
        return ""
    return str(least) if least == most else f"{least} to {most}"
