"""`easel remote runpod`: what a RunPod endpoint and its jobs do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli import show
from trainer_core.cli.bucket_options import address_of, bucket_options, opened, values_of
from trainer_core.cli.options import JSON_HELP

if TYPE_CHECKING:
    from trainer_core.remote.runpod.answers import JobStatus
    from trainer_core.remote.runpod.client import Client
    from trainer_core.remote.runpod.worker_models import Place

GONE = (
    "RunPod does not know this job. It keeps a result for 30 minutes after the end, and a job as long as its ttl. This does not "
    "mean that the job has failed: see the bucket. Or the job is of another endpoint."
)


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds what all these commands take."""
    function = click.option("--json", "as_json", is_flag=True, help=JSON_HELP)(function)
    function = click.option("--ask-key", is_flag=True, help="Ask for the API key, without showing it.")(function)
    function = click.option(
        "--env-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Read keys and settings from this file. Default: .env in the working folder.",
    )(function)
    return click.option(
        "--endpoint", default="", metavar="ID", help="The endpoint. Default: MODEL_TRAINING_RUNPOD_ENDPOINT_ID."
    )(function)


@click.group("runpod")
def command() -> None:
    """Look at a RunPod endpoint and its jobs.

    Jobs can be cancelled, and models uploaded for them.

    The API key is MODEL_TRAINING_RUNPOD_API_KEY or RUNPOD_API_KEY, from the environment or from `.env`.
    """


@command.command()
@_options
def health(endpoint: str, env_file: Path | None, ask_key: bool, as_json: bool) -> None:
    """Show how many jobs and workers an endpoint has."""
    with _client(endpoint, env_file, ask_key=ask_key) as client:
        found = client.health()
        if as_json:
            show.as_json({"endpoint": client.endpoint_id, "jobs": found.jobs, "workers": found.workers})
            return
        rows = [("jobs", name, number) for name, number in found.jobs.items()]
        rows += [("workers", name, number) for name, number in found.workers.items()]
        show.table(("what", "state", "number"), rows)


@command.command()
@click.argument("job")
@_options
def status(job: str, endpoint: str, env_file: Path | None, ask_key: bool, as_json: bool) -> None:
    """Show the state of JOB, which is the id that RunPod gave it."""
    with _client(endpoint, env_file, ask_key=ask_key) as client:
        _show(client.status(job), as_json)


@command.command()
@click.argument("job")
@_options
def cancel(job: str, endpoint: str, env_file: Path | None, ask_key: bool, as_json: bool) -> None:
    """End JOB, whether it waits or runs. Nothing that it has not uploaded is kept."""
    with _client(endpoint, env_file, ask_key=ask_key) as client:
        _show(client.cancel(job), as_json)


@command.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--to", "address", default="", metavar="ADDRESS", help="The storage of the runs. Default: S3_USER_BUCKET."
)
@click.option("--yes", is_flag=True, help="Upload without asking.")
@bucket_options
def bring(files: tuple[Path, ...], address: str, yes: bool, as_json: bool, **wanted: Any) -> None:
    """Upload model FILES once, for trainings on RunPod.

    A file is a single model file, or a folder such as one of diffusers. A run whose plan names it has the worker download it from the
    bucket. What is there already is not sent again, also single files of a folder.
    """
    from trainer_core.remote.runpod import worker_models

    values = values_of(wanted["env_file"], ask_key=wanted["ask_key"])
    where = address_of(address, values)
    root = where.key if not where.key or where.key.endswith("/") else f"{where.key}/"
    with opened(where, values) as bucket:
        places = [worker_models.place_of(str(file), bucket, root) for file in files]
        missing = [place for place in places if worker_models.is_missing(place, bucket)]
        if missing and not yes:
            _ask({place: worker_models.size_to_send(place, bucket) for place in missing}, bucket.name)
        for place in missing:
            worker_models.upload(place, bucket)
    if as_json:
        show.as_json(
            {"models": [{"file": str(one.file), "address": one.there, "sent": one in missing} for one in places]}
        )
        return
    for one in places:
        show.line(f"{one.file}: {one.there}" + ("" if one in missing else " (was there already)"))


def _ask(missing: Mapping[Place, int], bucket: str) -> None:
    """Says what would be sent, with the bytes, and ends the command unless the user agrees."""
    from trainer_core.text import size

    for place, count in missing.items():
        show.err.print(f"{place.file}: {size(count)}", markup=False, highlight=False)
    click.confirm(
        f"Upload {size(sum(missing.values()))} to the bucket {bucket}? Storing it costs.", abort=True, err=True
    )


def _client(endpoint: str, env_file: Path | None, *, ask_key: bool) -> Client:
    """A client with the key and the endpoint that are set.

    Raises:
        RemoteError: one of them is missing, or cannot be used.
    """
    from trainer_core.errors import RemoteError
    from trainer_core.remote import credentials
    from trainer_core.remote.runpod.client import Client
    from trainer_core.remote.training.client import ENDPOINT_NAME, KEY_NAMES

    if ask_key:
        # Kept in the memory of this process only, under the name that comes first.
        credentials.remember(KEY_NAMES[0], click.prompt("API key of RunPod", hide_input=True, err=True))
    values = credentials.settings(env_file)
    key = values.first(*KEY_NAMES)
    if key is None:
        raise RemoteError("RunPod API key is required.", credentials.where_to_set("RUNPOD_API_KEY"))
    endpoint = endpoint or values.text(ENDPOINT_NAME)
    if not endpoint:
        hint = f"{credentials.where_to_set(ENDPOINT_NAME)} Or name it with --endpoint."
        raise RemoteError("No endpoint is set.", hint)
    return Client(endpoint, key)


def _show(found: JobStatus, as_json: bool) -> None:
    result = found.result
    if as_json:
        lora = None if result is None else {"name": result.lora_name, "address": result.lora_url, "error": result.error}
        show.as_json({**found.as_dict(), "result": lora})
        return
    show.line(f"{found.id}: {found.state}")
    if found.is_gone:
        show.line(GONE)
    if found.delay_s is not None:
        show.line(f"Waited {found.delay_s:.0f} s" + (f", ran {found.run_s:.0f} s." if found.run_s is not None else "."))
    if found.error:
        show.line(f"Error: {found.error}")
    if result is not None and result.is_success:
        show.line(f"LoRA: {result.lora_name} at {result.lora_url}")
    elif result is not None and result.error and result.error != found.error:
        show.line(f"Error of the worker: {result.error}")
