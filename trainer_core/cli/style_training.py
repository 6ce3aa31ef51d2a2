"""What `easel remote style train` and `easel remote actor train` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.cli.style_options import style_options

if TYPE_CHECKING:
    from trainer_core.remote.runpod.style_training import Prepared


def train_command(kind: str, word: str) -> click.Command:
    """The command that trains a `word` ("style", "actor") as this kind of training."""

    @click.command("train", help=_HELP.format(word=word, upper=word.upper()))
    @click.argument("subject", metavar=word.upper())
    @click.option("--selection", required=True, metavar="SET", help="The name or number of the selection set.")
    @click.option("--name", "version", required=True, metavar="NAME", help="The name of this training, such as v1.0.")
    @click.option(
        "--endpoint", default="", metavar="ID", help="The endpoint. Default: MODEL_TRAINING_RUNPOD_ENDPOINT_ID."
    )
    @click.option("--storage", default="", metavar="ADDRESS", help="The storage of the runs. Default: S3_USER_BUCKET.")
    @click.option(
        "--preset", default="", metavar="POLICY", help="Another policy for learning rate and steps, such as style-002."
    )
    @click.option("--trigger", default="", metavar="WORD", help=f"The trigger word. Default: {word}_ID.")
    @click.option(
        "--engine", default="", metavar="ID", help="The engine that trains on the worker. Default: the best one."
    )
    @click.option(
        "--gpu",
        default="",
        metavar="NAME",
        help="The endpoint's GPU, for the time that the job may take. Default: a slow one.",
    )
    @click.option(
        "--set", "assignments", multiple=True, metavar="SETTING=VALUE", help="Another value, such as network.rank=32."
    )
    @click.option("--dry-run", is_flag=True, help="Show what would be trained, and start nothing.")
    @click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
    @style_options
    def command(subject: str, as_json: bool, dry_run: bool, env_file: Path | None, **wanted: Any) -> None:
        _train(kind, subject, wanted, env_file, as_json=as_json, dry_run=dry_run)

    return command


_HELP = """Train a selection set of {upper} on RunPod, as a run that is followed here.

    Learning rate and steps follow the number of images. The models are expected on the network volume of the endpoint, by the names
    of the document's workflow; --set model.path=... names others. The LoRA comes to Easel's outputs folder, and the training is added
    to the versions of the {word}."""


def _train(
    kind: str, subject: str, wanted: dict[str, Any], env_file: Path | None, *, as_json: bool, dry_run: bool
) -> None:
    import dataclasses

    from trainer_core.cli.job import assign
    from trainer_core.remote import credentials
    from trainer_core.remote.runpod import style_training
    from trainer_core.remote.runpod.target import RunPodTarget

    values = credentials.settings(env_file)
    dotenv = str(env_file.absolute()) if env_file else ""
    target = RunPodTarget.named(f"{wanted['endpoint']}@{wanted['storage']}", values, dotenv)
    target = dataclasses.replace(target, gpu=wanted["gpu"])
    named = {key: wanted[key] for key in ("selection", "version", "preset", "trigger", "engine")}
    asked = style_training.Asked(subject, kind=kind, **named)
    prepared = style_training.prepare(asked, values, wanted["where"])
    if wanted["assignments"]:
        assign(prepared.bench, wanted["assignments"])
        prepared = style_training.renewed(prepared)
    if not as_json:
        _show(prepared)
    run = None if dry_run else style_training.start(prepared, target)
    if as_json:
        data = {"version": prepared.version.as_dict(), "reason": prepared.reason, "images": prepared.images.images}
        show.as_json({**data, "run": run.name if run else None, "folder": run.folder.path if run else None})
    elif run is not None:
        show.line(
            f"Run {run.name} on RunPod endpoint {target.endpoint}. Follow it: easel runs follow {run.name}", "bold"
        )


def _show(prepared: Prepared) -> None:
    from trainer_core.text import amount

    images = amount(prepared.images.images, "image")
    show.line(f"{images} and {amount(prepared.images.captions, 'caption')} of {prepared.asked.selection}", "bold")
    show.line(prepared.reason)
    for name, value in prepared.version.parameters.items():
        show.line(f"  {name}: {value}")
