"""`easel dataset stats`: figures of a dataset."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP

if TYPE_CHECKING:
    from trainer_core.curation.statistics import Range

MOST_TAGS = 20


@click.command("stats")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--engine", default="", help="The engine whose rules are used.  [default: the first by rank]")
@click.option("--caption-extension", default=".txt", show_default=True, help="The file extension of captions.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: Path, engine: str, caption_extension: str, as_json: bool) -> None:
    """Show sizes, shapes and tags of the images."""
    from trainer_core.curation import statistics
    from trainer_core.datasets import scan
    from trainer_core.engines import registry

    rules = (registry.get(engine) if engine else registry.first()).manifest.dataset
    found = statistics.figures(scan.scan(folder, rules, caption_extension=caption_extension, quick=True))
    if as_json:
        show.as_json(dataclasses.asdict(found))
        return
    show.line(f"{found.images:,} images, {found.with_caption:,} with a caption")
    ranges = (("megapixels", found.megapixels, "{:.2f}"), ("shorter side (px)", found.shorter_side, "{:.0f}"), ("tokens of captions, at least", found.tokens, "{:.0f}"))  # fmt: skip
    show.table(("", "least", "middle", "most", "", ""), [_row(name, one, form) for name, one, form in ranges if one])
    show.table(("shape", "images"), [(name, f"{count:,}") for name, count in found.shapes])
    show.table(("tag", "captions", "share"), [(tag, f"{count:,}", f"{100 * count / found.with_caption:.0f} %") for tag, count in found.tags[:MOST_TAGS]])  # fmt: skip
    if len(found.tags) > MOST_TAGS:
        show.line(f"and {len(found.tags) - MOST_TAGS:,} other tags; --json lists all")
    for one, other, count in found.pairs:
        show.line(f"{one} and {other} stand together in {count:,} captions: the model cannot tell them apart.")


def _row(name: str, one: Range, form: str) -> tuple[str, ...]:
    return (
        name,
        form.format(one.least),
        form.format(one.middle),
        form.format(one.most),
        one.least_image,
        one.most_image,
    )
