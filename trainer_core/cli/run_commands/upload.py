"""`easel runs upload`: uploads a checkpoint of a run to Hugging Face, with a model card."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli.options import JSON_HELP, Whole

if TYPE_CHECKING:
    from trainer_core.jobs.job import Job
    from trainer_core.publishing.offer import Offer


@click.command("upload")
@click.argument("run")
@click.option("--repo", default="", metavar="OWNER/NAME", help="The repository; it is created if it is missing.")
@click.option(
    "--step", type=Whole(0), default=None, help="The step of the checkpoint. Default: the best, else the final one."
)
@click.option("--public", is_flag=True, help="Let everybody see it. Default: private.")
@click.option("--licence", "--license", default="none", metavar="ID", help="The licence, as the Hub calls it.")
@click.option("--base-model", default="", metavar="OWNER/NAME", help="The repository of the base model, for the card.")
@click.option("--card", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Use the card in this file.")
@click.option("--show-card", is_flag=True, help="Only print the card, and upload nothing.")
@click.option("--replace-card", is_flag=True, help="Replace the card that the repository has.")
@click.option("--no-samples", is_flag=True, help="Upload no sample images.")
@click.option("--keep-metadata", is_flag=True, help="Upload the file with all its metadata, also the personal.")
@click.option("--ask-token", is_flag=True, help="Ask for a token, without showing it.")
@click.option("--yes", is_flag=True, help="Upload without asking.")
@click.option("--detach", is_flag=True, help="Return at once; `easel jobs follow` shows the upload.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(run: str, repo: str, step: int | None, card: Path | None, **wanted: Any) -> None:
    """Upload a checkpoint of RUN to Hugging Face.

    It gets a model card with the trigger word, the settings and the samples of its step; --show-card prints it, and --card
    takes a changed one. Personal metadata is removed from the uploaded copy. The repository is private unless you say
    --public. The token comes from HF_TOKEN; it is in no argument, log or run folder.
    """
    from trainer_core.cli import show
    from trainer_core.cli.runs import find_run
    from trainer_core.models import tokens
    from trainer_core.publishing import offer, upload

    as_json = wanted["as_json"]
    found = offer.offer(find_run(run), step, with_samples=not wanted["no_samples"])
    text = card.read_text(encoding="utf-8") if card else found.card(wanted["licence"], wanted["base_model"])
    if wanted["show_card"]:
        show.as_json({"card": text, "file": found.name}) if as_json else click.echo(text)
        return
    if not repo:
        raise click.UsageError("Give --repo OWNER/NAME, or --show-card.")
    if wanted["ask_token"]:
        tokens.remember("huggingface", click.prompt("Token for Hugging Face", hide_input=True, err=True))
    settings = found.settings(
        repo,
        text,
        private=not wanted["public"],
        scrub=not wanted["keep_metadata"],
        replaces_card=wanted["replace_card"],
    )
    if not as_json:
        _show(found, settings.repo, wanted["public"])
    if not (wanted["yes"] or as_json):
        click.confirm("Upload it?", abort=True, default=False)
    job = upload.start(settings)
    if wanted["detach"]:
        show.as_json({"job": job.name, "folder": job.folder.path}) if as_json else show.line(f"Job {job.name}")
        return
    finish(job, settings.repo, as_json)


def _show(found: Offer, repo: str, public: bool) -> None:
    from trainer_core.cli import show
    from trainer_core.cli.tools import scrubbing

    seen = "everybody can see it" if public else "only you and your organisation can see it"
    show.line(f"{found.name} of step {found.made.step} goes to {repo}; {seen}.", "bold")
    show.line(f"  with {len(found.samples)} sample images and the card that --show-card prints")
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
