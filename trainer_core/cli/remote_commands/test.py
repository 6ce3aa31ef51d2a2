"""`easel remote test`: whether everything that a training on RunPod needs can be used."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP

WORDS = {"ok": "ok", "wrong": "WRONG", "not used": "-", "not tested": "-"}


@click.command("test")
@click.option("--endpoint", default="", metavar="ID", help="The endpoint. Default: MODEL_TRAINING_RUNPOD_ENDPOINT_ID.")
@click.option("--storage", default="", metavar="ADDRESS", help="The storage of the runs. Default: S3_USER_BUCKET.")
@click.option("--style", default="", metavar="ID", help="Also test a selection set of this style.")
@click.option("--selection", default="", metavar="SET", help="Its name or number. Default: the first one.")
@click.option(
    "--at", "where", default="", metavar="PLACE", help="Where the styles are. Default: as for `easel remote styles`."
)
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read keys and settings from this file. Default: .env in the working folder.",
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(
    endpoint: str, storage: str, style: str, selection: str, where: str, env_file: Path | None, as_json: bool
) -> None:
    """Test keys, endpoint, bucket, selection set and webhook. No job is started.

    A small object is written to the bucket, read and deleted. The exit code is 1 if something is wrong.
    """
    from trainer_core.remote import checking, credentials

    wanted = checking.Wanted(endpoint, storage, style, selection, where)
    found = []
    for line in checking.lines(wanted, credentials.settings(env_file)):
        found.append(line)
        if not as_json:
            show.line(f"{WORDS[line.state]:>5}  {line.what}: {line.said}", "red" if line.state == "wrong" else "")
            if line.advice:
                show.line(f"       {line.advice}")
    is_well = all(line.state != "wrong" for line in found)
    if as_json:
        show.as_json({"ok": is_well, "lines": [line.as_dict() for line in found]})
    if not is_well:
        sys.exit(1)
