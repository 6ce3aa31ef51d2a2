"""What the commands that upload a model to Hugging Face share: their options, the card, the question before the upload, and its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli.options import JSON_HELP

if TYPE_CHECKING:
    from trainer_core.jobs.job import Job
    from trainer_core.publishing.file_offer import FileOffer
    from trainer_core.publishing.offer import Offer

_CARD = click.Path(path_type=Path, dir_okay=False, exists=True)
_OPTIONS = (
    click.option("--repo", default="", metavar="OWNER/NAME", help="The repository; it is created if it is missing."),
    click.option("--public", is_flag=True, help="Let everybody see it. Default: private."),
    click.option("--licence", "--license", default="none", metavar="ID", help="The licence, as the Hub calls it."),
    click.option(
        "--base-model", default="", metavar="OWNER/NAME", help="The repository of the base model, for the card."
    ),
    click.option("--card", type=_CARD, help="Use the card in this file."),
    click.option("--show-card", is_flag=True, help="Only print the card, and upload nothing."),
    click.option("--replace-card", is_flag=True, help="Replace the card that the repository has."),
    click.option("--keep-metadata", is_flag=True, help="Upload the file with all its metadata, also the personal."),
    click.option("--ask-token", is_flag=True, help="Ask for a token, without showing it."),
    click.option("--yes", is_flag=True, help="Upload without asking."),
    click.option("--detach", is_flag=True, help="Return at once; `easel jobs follow` shows the upload."),
    click.option("--json", "as_json", is_flag=True, help=JSON_HELP),
)


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that every upload of a model has."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def carry_out(found: Offer | FileOffer, told: str, more: Iterable[str], wanted: dict[str, Any]) -> None:
    """Prints the card, or uploads the offer after a question; `wanted` are the options.

    `told` says what is uploaded, and `more` are sentences about what goes along.

    Raises:
        EaselError: it cannot be uploaded.
    """
    from trainer_core.cli import show
    from trainer_core.models import tokens
    from trainer_core.publishing import upload

    as_json, card = wanted["as_json"], wanted["card"]
    text = card.read_text(encoding="utf-8") if card else found.card(wanted["licence"], wanted["base_model"])
    if wanted["show_card"]:
        show.as_json({"card": text, "file": found.name}) if as_json else click.echo(text)
        return
    if not wanted["repo"]:
        raise click.UsageError("Give --repo OWNER/NAME, or --show-card.")
    if wanted["ask_token"]:
        tokens.remember("huggingface", click.prompt("Token for Hugging Face", hide_input=True, err=True))
    settings = found.settings(
        wanted["repo"],
        text,
        private=not wanted["public"],
        scrub=not wanted["keep_metadata"],
        replaces_card=wanted["replace_card"],
    )
    if not as_json:
        _show(found, f"{told} goes to {settings.repo}", more, wanted)
    if not (wanted["yes"] or as_json):
        click.confirm("Upload it?", abort=True, default=False)
    job = upload.start(settings)
    if wanted["detach"]:
        show.as_json({"job": job.name, "folder": job.folder.path}) if as_json else show.line(f"Job {job.name}")
        return
    finish(job, settings.repo, as_json)


def _show(found: Offer | FileOffer, told: str, more: Iterable[str], wanted: dict[str, Any]) -> None:
    from trainer_core.cli import show
    from trainer_core.cli.tools import scrubbing

    seen = "everybody can see it" if wanted["public"] else "only you and your organisation can see it"
    show.line(f"{told}; {seen}.", "bold")
    for sentence in more:
        show.line(f"  {sentence}")
    if not wanted["keep_metadata"]:
        for row in scrubbing.described(found.findings()):
            show.line(f"  {row[1]}: {row[0]} ({row[2]})", "dim")


def finish(job: Job, repo: str, as_json: bool) -> None:
    """Follows the upload, then prints the address of the repository.

    Raises:
        DownloadError: it did not succeed.
    """
    from trainer_core.cli import jobs, show
    from trainer_core.errors import DownloadError
    from trainer_core.jobs.state import JobState

    jobs.watch(job, quiet=as_json)
    result = job.result or {}
    if job.state is not JobState.COMPLETED:
        told = result.get("diagnosis") or {}
        raise DownloadError(str(told.get("cause", "The upload was stopped.")), str(told.get("advice", "")))
    where = next(iter(result.get("outputs", ())), "")
    if as_json:
        show.as_json({"repo": repo, "address": where, "job": job.name})
    else:
        show.line(where)
    sys.exit(0)
