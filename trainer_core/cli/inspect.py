"""`easel dataset check`: look, and change nothing."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click

from trainer_core import registry
from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.datasets import scan
from trainer_core.problems import blocking

PROBLEMS = 3


@click.group()
def dataset() -> None:
    """Check a folder of pictures and captions."""


@dataset.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--engine", default="kohya", show_default=True, help="The engine by whose rules the folder is read.")
@click.option("--caption-extension", default=".txt", show_default=True, help="How the files of captions end.")
@click.option("--trigger", default="", help="The trigger word, to check the captions for it.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def check(folder: Path, engine: str, caption_extension: str, trigger: str, as_json: bool) -> None:
    """Say what an engine will see of a folder.

    It also says what the engine would skip and stumble over. The exit code is 3 when a training could not begin.
    """
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
