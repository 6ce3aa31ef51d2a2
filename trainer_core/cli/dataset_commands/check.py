"""`easel dataset check`: checks a dataset without changing it."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP

PROBLEMS = 3


@click.command("check")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--engine", default="", help="The engine whose rules are used to read the folder.  [default: the first by rank]"
)
@click.option("--caption-extension", default=".txt", show_default=True, help="The file extension of captions.")
@click.option("--trigger", default="", help="The trigger word to look for in the captions.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: Path, engine: str, caption_extension: str, trigger: str, as_json: bool) -> None:
    """Show what an engine will see in a folder.

    This includes the files that the engine would skip or fail on. The exit code is 3 when training could not start.
    """
    from trainer_core.datasets import scan
    from trainer_core.engines import registry
    from trainer_core.problems import blocking

    rules = (registry.get(engine) if engine else registry.first()).manifest.dataset
    found = scan.scan(folder, rules, caption_extension=caption_extension, trigger=trigger)
    stopping = blocking(found.problems)
    if as_json:
        show.as_json(
            {
                "folder": folder,
                "images": [dataclasses.asdict(image) for image in found.images],
                "unseen": found.unseen,
                "problems": [problem.as_dict() for problem in found.problems],
            }
        )
    else:
        show.line(found.summary)
        show.problems(found.problems)
    sys.exit(PROBLEMS if stopping else 0)
