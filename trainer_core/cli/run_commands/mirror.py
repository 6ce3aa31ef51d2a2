"""`easel runs mirror`: copies what a run has made to another folder, a bucket or the Hub, and continues an earlier copy."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli.bucket_options import bucket_options

if TYPE_CHECKING:
    from trainer_core.training.folder import RunFolder
    from trainer_core.training.mirror import Pass

WAIT_S = 15.0
"""How long after a pass the next one begins."""


@click.command("mirror")
@click.argument("name")
@click.option(
    "--to",
    "target",
    default="",
    help="The folder, s3://BUCKET/FOLDER/ or hf://OWNER/NAME/FOLDER. Default: what the plan names.",
)
@click.option("--follow", is_flag=True, help="Copy again and again until the run has ended.")
@bucket_options
def command(name: str, target: str, follow: bool, **options: Any) -> None:
    """Copy what a run has made to a folder, a bucket or the Hub.

    Checkpoints, samples, finished results and the records of the run; no saved states. What is there already is not copied
    again, and each copy is compared by its SHA-256. The run may still be running. With --mirror-to a run copies to a folder or the Hub by itself. On the Hub a missing repository is created as a private one.
    """
    from trainer_core.cli import show
    from trainer_core.cli.runs import find_run
    from trainer_core.jobs.state import FINAL_STATES
    from trainer_core.training import mirror_end

    as_json = options.pop("as_json")
    run = find_run(name)
    named = target or mirror_end.wanted(run.folder.plan)
    if not named:
        raise click.UsageError("The plan of this run names no folder. Give one: --to FOLDER.")
    copies = _copies(named, **options)
    while True:
        has_ended = run.state in FINAL_STATES
        done = copies(run.folder)
        if as_json:
            show.as_json(done.as_dict())
        elif done.copied or not follow or has_ended:
            show.line(f"{len(done.copied)} files were copied to {done.folder}; {done.there} were there.")
            for each in done.left:
                show.line(f"Left out: {each}", "yellow")
        if not follow or has_ended:
            if done.left:
                sys.exit(1)
            return
        time.sleep(WAIT_S)


def _copies(named: str, **options: Any) -> Callable[[RunFolder], Pass]:
    from trainer_core.models import hub_repository

    if named.startswith("s3://"):
        return _to_bucket(named, **options)
    return _to_the_hub(named) if hub_repository.is_place(named) else _to_folder(named)


def _to_the_hub(named: str) -> Callable[[RunFolder], Pass]:
    import os

    from trainer_core.publishing import hub

    # Before huggingface_hub is loaded, which reads them then.
    os.environ.update(hub.WITHOUT)
    from trainer_core.publishing.hub_mirror import mirror

    return lambda run: mirror(run, named)


def _to_folder(named: str) -> Callable[[RunFolder], Pass]:
    from trainer_core.training.mirror import mirror

    return lambda run: mirror(run, named)


def _to_bucket(named: str, env_file: Path | None, ask_key: bool) -> Callable[[RunFolder], Pass]:
    from trainer_core.cli.bucket_options import address_of, values_of
    from trainer_core.remote.bucket_mirror import mirror
    from trainer_core.remote.storage import connect

    values = values_of(env_file, ask_key=ask_key)
    address = address_of(named, values)
    bucket = connect(address, values)
    return lambda run: mirror(run, bucket, address.key)
