"""`easel dataset score`: measures the quality of images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.errors import DatasetError, wrong_use
from trainer_core.text import amount, printable

if TYPE_CHECKING:
    from trainer_core.curation.looks import Look

SHOWN = 5
MANY = 200


@click.command("score")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--threshold", "thresholds", multiple=True, metavar="FINDING=VALUE", help="Another threshold, such as blurred=4. May be repeated.")  # fmt: skip
@click.option("--measures", "shows_measures", is_flag=True, help="List what is measured and from which value on it counts, and stop.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: Path | None, *, thresholds: tuple[str, ...], shows_measures: bool, as_json: bool) -> None:
    """Measure the quality of the images.

    This is sharpness, brightness and compression; images worth a look are shown. The measures are kept, so that only changed images are read again. Nothing is changed or removed.
    """
    from trainer_core.curation import quality, scores

    moved = _thresholds(thresholds)
    if shows_measures:
        _measures(as_json=as_json)
        return
    if folder is None:
        raise click.UsageError("Give the folder of a dataset, or --measures.")
    found = measured(folder)
    said = {path: quality.found(look.scores, moved) for path, look in found.items()}
    counts = quality.counts((look.scores for look in found.values()), moved)
    if as_json:
        known = scores.of(found)
        images = {path: {"scores": known.get(path, {}), "findings": one} for path, one in said.items()}
        show.as_json({"images": images, "counts": counts})
        return
    for key, finding in quality.FINDINGS.items():
        for state in ("found", "unsure"):
            names = [path for path, one in said.items() if one.get(key) == state]
            if names:
                sure = "" if state == "found" else " (not sure)"
                more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
                shown = ", ".join(printable(name, 60) for name in names[:SHOWN])
                show.line(f"{finding.title}{sure}: {finding.meaning}. {finding.advice}")
                show.line(f"  {len(names):,}: {shown}{more}")
    without = sum(not look.scores for look in found.values())
    show.line(f"{amount(len(found), 'image')}; {sum(map(bool, said.values())):,} worth a look" + (f"; {without:,} could not be measured" if without else "") + ".")  # fmt: skip


def measured(folder: Path) -> dict[str, Look]:
    """What is seen of the images of a dataset; in a terminal, a line says that it takes a while."""
    from trainer_core.curation import gathering, scores

    paths = gathering.images(folder)
    missing = len(paths) - len(scores.stored(folder, paths))
    if missing > MANY:
        show.notice(f"Reading {missing:,} images. If it is interrupted, it goes on from there.")
    return scores.measured(folder)


def _thresholds(given: tuple[str, ...]) -> dict[str, float]:
    from trainer_core.curation import quality

    found = {}
    for one in given:
        key, sign, value = one.partition("=")
        if not sign or key not in quality.FINDINGS:
            raise click.UsageError(f"{one!r:.60} is no threshold. Known: {', '.join(quality.FINDINGS)}.")
        try:
            found[key] = quality.threshold(key, float(value))
        except ValueError:
            raise click.UsageError(f"{value!r:.40} is not a number.") from None
        except DatasetError as error:
            raise wrong_use(error) from None
    return found


def _measures(*, as_json: bool) -> None:
    from trainer_core.curation import quality

    if as_json:
        rows = {"measures": quality.MEASURES, "findings": quality.FINDINGS}
        show.as_json({name: [dataclasses.asdict(one) for one in table.values()] for name, table in rows.items()})
        return
    show.table(("measure", "unit", "meaning", "source"), [(one.key, one.unit, one.meaning, one.source) for one in quality.MEASURES.values()])  # fmt: skip
    rows = []
    for key, finding in quality.FINDINGS.items():
        limits = " and ".join(f"{one.measure} {one.side} {one.sure:g}" for one in finding.limits)
        rows.append((key, finding.meaning, limits, finding.source))
    show.table(("finding", "meaning", "threshold", "source"), rows)
