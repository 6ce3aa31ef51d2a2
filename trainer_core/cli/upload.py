"""`easel upload`: brings files, folders and links into the folders that Easel works with."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP

if TYPE_CHECKING:
    from trainer_core.jobs.job import Job
    from trainer_core.keeping.bounds import Spot
    from trainer_core.keeping.bringing import Brought
    from trainer_core.keeping.receiving import Choice


@click.command()
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "--to", "folder", default="", help="The folder, such as datasets. By default the one in models for its kind."
)
@click.option("--replace", is_flag=True, help="Move a file of the same name to the trash, instead of keeping both.")
@click.option("--unpack", is_flag=True, help="Unpack zips into a folder; the copy of the zip is then removed.")
@click.option("--detach", is_flag=True, help="Do not wait for a link to be fetched.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def upload(sources: tuple[str, ...], folder: str, replace: bool, unpack: bool, detach: bool, as_json: bool) -> None:
    """Bring SOURCES into the folders that Easel works with.

    A source is a file or folder of this machine, which is copied and compared, or a link: a model of Hugging Face or Civitai, or any
    address of a file. A link is fetched by a job of its own, which goes on where it stopped.
    """
    from trainer_core.keeping import bounds
    from trainer_core.models import downloads

    where = bounds.named(folder) if folder else None
    links = [source for source in sources if downloads.parse(source) is not None]
    files = [source for source in sources if source not in links]
    rows: list[dict[str, Any]] = []
    if files:
        rows += _bring(files, where, "replace" if replace else "both", unpack=unpack, as_json=as_json)
    failed = False
    for link in links:
        row, is_done = _fetch(link, where, unpack=unpack, detach=detach, as_json=as_json)
        rows.append(row)
        failed |= not is_done
    if as_json:
        show.as_json({"brought": rows})
    sys.exit(1 if failed else 0)


def _bring(
    files: list[str], where: Spot | None, choice: Choice, *, unpack: bool, as_json: bool
) -> list[dict[str, Any]]:
    from trainer_core.cli.download import interrupted
    from trainer_core.keeping import bringing
    from trainer_core.keeping.carrying import Going

    with interrupted() as cancel:
        found = bringing.bring(files, where, Going(cancel=cancel), choice=choice, unpacks=unpack)
    if not as_json:
        for one in found:
            show.line(one.spot.path)
            show.line(f"  {_told(one)}", "dim")
            for problem in filter(None, (one.doubt, one.renamed)):
                show.line(f"  {problem}", "yellow")
            for note in one.unpacked.notes if one.unpacked else ():
                show.line(f"    {note}", "dim")
    return [_row(one) for one in found]


def _told(one: Brought) -> str:
    from trainer_core.text import size

    known = one.recognised
    parts = [
        "it was there already" if one.is_same else "",
        size(one.size_bytes),
        f"SHA-256 {one.sha256}" if one.sha256 else "",
        known.words if known else "",
        f"such files belong in {known.belongs.text}" if known and known.belongs else "",
        f"unpacked, {one.unpacked.files:,} files, {len(one.unpacked.left_out):,} left out" if one.unpacked else "",
    ]
    return "; ".join(filter(None, parts))


def _row(one: Brought) -> dict[str, Any]:
    known = one.recognised
    return {
        "file": one.spot.text,
        "path": one.spot.path,
        "bytes": one.size_bytes,
        "sha256": one.sha256,
        "was_there": one.is_same,
        "is": known.words if known else "",
        "doubt": one.doubt,
        "left_out": [{"name": name, "why": why} for name, why in one.unpacked.left_out] if one.unpacked else [],
        "belongs": known.belongs.text if known and known.belongs else "",
    }


def _fetch(link: str, where: Spot | None, *, unpack: bool, detach: bool, as_json: bool) -> tuple[dict[str, Any], bool]:
    """Fetches a link; returns what is said of it, and whether it came."""
    from trainer_core.cli import jobs
    from trainer_core.jobs.state import JobState
    from trainer_core.keeping import fetching

    job: Job = fetching.start(link, where, unpacks=unpack)
    if detach:
        if not as_json:
            show.line(f"The job {job.name} fetches it. Watch it: easel jobs follow {job.name}")
        return {"job": job.name}, True
    jobs.watch(job, quiet=as_json)
    result = job.result or {}
    path = next(iter(result.get("outputs", ())), "")
    is_done = job.state is JobState.COMPLETED and bool(path)
    told = result.get("diagnosis") or {}
    if not as_json:
        show.line(path if is_done else f"{told.get('cause') or 'It was stopped.'} {told.get('advice') or ''}".strip())
    return {"job": job.name, "path": path, "error": "" if is_done else str(told.get("cause", ""))}, is_done
