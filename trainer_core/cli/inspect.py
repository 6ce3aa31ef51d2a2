"""`easel detect`, `easel dataset check`, `easel profiles`: look, and change nothing."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import click

from trainer_core import profiles as profile_files
from trainer_core import registry, workbench
from trainer_core.cli import show
from trainer_core.datasets import scan
from trainer_core.problems import blocking

PROBLEMS = 3


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, one object a file.")
def detect(files: tuple[Path, ...], as_json: bool) -> None:
    """Say what model files or diffusers folders are, from their headers."""
    rows = [_detected(path) for path in files]
    if as_json:
        show.as_json(rows)
    else:
        for row in rows:
            _show_detection(row)
    sys.exit(1 if any(row["error"] for row in rows) else 0)


def _detected(path: Path) -> dict[str, Any]:
    found, error = workbench.recognise(path)
    row: dict[str, Any] = {"path": str(path), "error": error or None}
    if found is not None:
        row |= dataclasses.asdict(found)
        engines = registry.available()
        row["trainable_by"] = [engine.manifest.id for engine in engines if found.family in engine.manifest.families]
    return row


def _show_detection(row: dict[str, Any]) -> None:
    show.line(row["path"], "bold")
    if row["error"]:
        show.line(f"  {row['error']}", "red")
        return
    show.line(f"  {row['role']}, {row['family'] or 'unknown family'}, predicts {row['prediction'] or 'unknown'}")
    for reason in row["evidence"]:
        show.line(f"    because {reason}", "dim")
    show.line(f"  trained by: {', '.join(row['trainable_by']) or 'no engine of this version'}")


@click.group()
def dataset() -> None:
    """Look at a dataset folder."""


@dataset.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--engine", default="kohya", show_default=True, help="The engine by whose rules the folder is read.")
@click.option("--caption-extension", default=".txt", show_default=True)
@click.option("--trigger", default="", help="The trigger word, to check the captions for it.")
@click.option("--json", "as_json", is_flag=True)
def check(folder: Path, engine: str, caption_extension: str, trigger: str, as_json: bool) -> None:
    """Say what an engine will see of a folder, skip, and stumble over."""
    rules = registry.get(engine).manifest.dataset
    found = scan.scan(folder, rules, caption_extension=caption_extension, trigger=trigger)
    stopping = blocking(found.problems)
    if as_json:
        show.as_json(
            {
                "folder": folder,
                "pictures": [dataclasses.asdict(picture) for picture in found.pictures],
                "unseen": found.unseen,
                "problems": [problem.as_dict() for problem in found.problems],
            }
        )
    else:
        show.line(found.summary)
        show.problems(found.problems)
    sys.exit(PROBLEMS if stopping else 0)


@click.group()
def profiles() -> None:
    """Look at training profiles."""


@profiles.command("list")
@click.option("--json", "as_json", is_flag=True)
def list_profiles(as_json: bool) -> None:
    """List the profiles that come with Easel."""
    found = profile_files.shipped().values()
    if as_json:
        show.as_json([dataclasses.asdict(profile) for profile in found])
    else:
        show.table(("id", "title", "explanation"), ((p.id, p.title, p.explanation) for p in found))


@profiles.command("show")
@click.argument("name")
def show_profile(name: str) -> None:
    """Show a profile (by id or by file) with its values and sources."""
    bench = workbench.Workbench()
    bench.use_profile(name)
    profile = bench.profile
    assert profile is not None  # use_profile raises for a name it cannot find
    show.line(f"{profile.title} for {profile.family}: {profile.explanation}")
    show.table(("setting", "value"), profile.settings.items())
    for source in profile.sources:
        show.line(f"source: {source}", "dim")
