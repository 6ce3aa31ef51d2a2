"""`easel dataset stats`: figures of a dataset."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP, known_family
from trainer_core.text import amount, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer_core.curation.placements import Placement
    from trainer_core.curation.statistics import Range
    from trainer_core.curation.token_meter import Cut, Meter
    from trainer_core.datasets.caption_text import Tokenizer
    from trainer_core.datasets.scan import Dataset
    from trainer_core.engines.manifest import BackendManifest

MOST_TAGS = 20
MOST_LONG = 10
MOST_CROPPED = 10
LEAST_LOST = 0.05


@click.command("stats")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--engine", default="", help="The engine whose rules are used.  [default: the first by rank]")
@click.option("--caption-extension", default=".txt", show_default=True, help="The file extension of captions.")
@click.option("--resolution", type=click.IntRange(64, 4096), default=1024, show_default=True, help="The side of the square of the same area, in pixels.")  # fmt: skip
@click.option("--bucket-step", type=click.IntRange(8, 256), default=64, show_default=True, help="The step of the sides of buckets, in pixels.")  # fmt: skip
@click.option("--family", default="", callback=known_family, help="The family of models whose text encoder counts the tokens.  [default: CLIP]")  # fmt: skip
@click.option("--model", type=click.Path(path_type=Path), help="The folder of the model, for its tokenizer.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(
    folder: Path,
    *,
    engine: str,
    caption_extension: str,
    resolution: int,
    bucket_step: int,
    family: str,
    model: Path | None,
    as_json: bool,
) -> None:
    """Show sizes, shapes, tags and lost parts.

    Also which captions are too long for the text encoder, and which views no caption names.
    """
    from trainer_core.curation import coverage, placements, statistics, token_meter
    from trainer_core.datasets import bucket_places, scan
    from trainer_core.engines import registry

    manifest = (registry.get(engine) if engine else registry.first()).manifest
    dataset = scan.scan(folder, manifest.dataset, caption_extension=caption_extension, quick=True)
    made = bucket_places.way(manifest.dataset)
    placed = placements.placements(dataset, made, resolution, bucket_step) if made else []
    tokenizer, limit = _encoder(manifest, family)
    meter = token_meter.of_model(model, tokenizer)
    found = statistics.figures(dataset, meter.count)
    views = coverage.covered([image.caption for image in dataset.images if image.caption])
    cut = _cut(dataset, meter, limit)
    if as_json:
        show.as_json(
            {
                **dataclasses.asdict(found),
                "tokens_are": token_meter.why_estimated(meter) or "exact",
                "token_limit": limit,
                "too_long": {name: dataclasses.asdict(one) for name, one in cut.items()},
                "placements": [dataclasses.asdict(one) for one in placed],
                "coverage": [{**dataclasses.asdict(one), "gaps": one.gaps} for one in views],
            }
        )
        return
    show.line(f"{amount(found.images, 'image')}, {found.with_caption:,} with a caption")
    ranges = (("megapixels", found.megapixels, "{:.2f}"), ("shorter side (px)", found.shorter_side, "{:.0f}"), ("tokens of captions", found.tokens, "{:.0f}"))  # fmt: skip
    show.table(("", "least", "middle", "most", "", ""), [_row(name, one, form) for name, one, form in ranges if one])
    show.table(("shape", "images"), [(name, f"{count:,}") for name, count in found.shapes])
    show.table(("tag", "captions", "share"), [(tag, f"{count:,}", f"{100 * count / found.with_caption:.0f} %") for tag, count in found.tags[:MOST_TAGS]])  # fmt: skip
    if len(found.tags) > MOST_TAGS:
        show.line(f"and {amount(len(found.tags) - MOST_TAGS, 'other tag')}; --json lists all")
    _told(meter, cut, limit)
    _cropped(placed)
    for group in views:
        if group.gaps:
            show.line(
                f"{group.title}: {', '.join(f'no {name}' for name in group.gaps)}, by the tags of {amount(group.captions, 'caption')}."
            )
    for one, other, count in found.pairs:
        show.line(f"{one} and {other} stand together in {amount(count, 'caption')}: the model cannot tell them apart.")


def _row(name: str, one: Range, form: str) -> tuple[str, ...]:
    return (
        name,
        form.format(one.least),
        form.format(one.middle),
        form.format(one.most),
        one.least_image,
        one.most_image,
    )


def _encoder(manifest: BackendManifest, family: str) -> tuple[Tokenizer, int]:
    """How the text encoder of a family counts, and how many tokens it reads."""
    from trainer_core.curation.token_meter import CHUNK

    claim = manifest.families.get(family)
    if not family or claim is None:
        return "clip", CHUNK
    cell = claim.cell("lora")
    return cell.tokenizer, cell.caption_tokens.get("", CHUNK)


def _cut(dataset: Dataset, meter: Meter, limit: int) -> dict[str, Cut]:
    """The captions that are not read to their end, by image, the longest first."""
    from trainer_core.curation import token_meter

    found = {
        image.name: cut
        for image in dataset.images
        for line in (image.caption or "").splitlines()
        if (cut := token_meter.cut(line, meter, limit)).rest
    }
    return dict(sorted(found.items(), key=lambda one: -one[1].tokens))


def _told(meter: Meter, cut: Mapping[str, Cut], limit: int) -> None:
    from trainer_core.curation import token_meter

    why = token_meter.why_estimated(meter)
    show.line(f"Tokens are {why}." if why else f"Tokens are counted by {meter.name}.")
    if cut:
        show.line(f"{len(cut):,} {'caption is' if len(cut) == 1 else 'captions are'} longer than {limit} tokens:")
        show.table(("image", "tokens", "first tag that is not read"), [(name, f"{one.tokens:,}", printable(one.tag, 60)) for name, one in list(cut.items())[:MOST_LONG]])  # fmt: skip


def _cropped(placed: Sequence[Placement]) -> None:
    shown = [one for one in placed if one.lost >= LEAST_LOST][:MOST_CROPPED]
    if shown:
        show.table(("most cropped", "size", "scaled to", "bucket", "lost"), [(one.name, *(f"{wide} x {high}" for wide, high in (one.size, one.scaled, one.bucket)), f"{100 * one.lost:.0f} %") for one in shown])  # fmt: skip
