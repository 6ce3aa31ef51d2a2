"""`easel dataset upload`: uploads a dataset to Hugging Face, with a dataset card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli.options import JSON_HELP

if TYPE_CHECKING:
    from trainer_core.curation.exporting import Preview

SHOWN = 5


@click.command("upload")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--repo", default="", metavar="OWNER/NAME", help="The repository; it is created if it is missing.")
@click.option("--public", is_flag=True, help="Let everybody see it. Default: private.")
@click.option("--licence", "--license", default="none", metavar="ID", help="The licence, as the Hub calls it.")
@click.option("--trigger", default="", help="The trigger word, for the card.")
@click.option("--card", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Use the card in this file.")
@click.option("--show-card", is_flag=True, help="Only print the card, and upload nothing.")
@click.option("--replace-card", is_flag=True, help="Replace the card that the repository has.")
@click.option("--keep-metadata", is_flag=True, help="Upload the images with all that they tell besides their pixels.")
@click.option("--caption-extension", default=".txt", show_default=True, help="The file extension of captions.")
@click.option("--ask-token", is_flag=True, help="Ask for a token, without showing it.")
@click.option("--yes", is_flag=True, help="Upload without asking.")
@click.option("--detach", is_flag=True, help="Return at once; `easel jobs follow` shows the upload.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: Path, repo: str, card: Path | None, **wanted: Any) -> None:
    """Upload images and captions to Hugging Face.

    The captions become a table, metadata.jsonl, and a dataset card is added; --show-card prints it, and --card takes a changed one.
    Where, when and with which camera an image was made, and its prompt, are removed from the uploaded copies. What the images
    show, what captions say, and the names of files and folders go along. The repository is private unless you say --public.
    The token comes from HF_TOKEN; it is in no argument, log or job folder.
    """
    from trainer_core.cli import show
    from trainer_core.cli.uploading import finish
    from trainer_core.curation import exporting
    from trainer_core.models import tokens
    from trainer_core.publishing import dataset_card, dataset_upload

    as_json, ending = wanted["as_json"], wanted["caption_extension"]
    seen = exporting.preview(folder, ending)
    text = card.read_text(encoding="utf-8") if card else dataset_card.draft(folder, licence=wanted["licence"], trigger=wanted["trigger"], ending=ending, seen=seen)  # fmt: skip
    if wanted["show_card"]:
        show.as_json({"card": text}) if as_json else click.echo(text)
        return
    if not repo:
        raise click.UsageError("Give --repo OWNER/NAME, or --show-card.")
    if wanted["ask_token"]:
        tokens.remember("huggingface", click.prompt("Token for Hugging Face", hide_input=True, err=True))
    settings = dataset_upload.Settings(
        repo=repo,
        folder=str(folder),
        card=text,
        ending=ending,
        private=not wanted["public"],
        scrub=not wanted["keep_metadata"],
        replaces_card=wanted["replace_card"],
    )
    if not as_json:
        _show(seen, settings, repo)
    if not (wanted["yes"] or as_json):
        click.confirm("Upload it?", abort=True, default=False)
    job = dataset_upload.start(settings)
    if wanted["detach"]:
        show.as_json({"job": job.name, "folder": job.folder.path}) if as_json else show.line(f"Job {job.name}")
        return
    finish(job, repo, as_json)


def _show(seen: Preview, settings: Any, repo: str) -> None:
    from trainer_core.cli import show
    from trainer_core.text import amount, size

    who = "only you and your organisation can see it" if settings.private else "everybody can see it"
    show.line(
        f"{amount(seen.images, 'image')} and {amount(seen.captions, 'caption')} ({size(seen.bytes)}) go to {repo}; {who}.",
        "bold",
    )
    if seen.told:
        done = "this is removed from the copies" if settings.scrub else "this goes along"
        show.line(
            f"  {amount(len(seen.told), 'image')} {'tells more than its' if len(seen.told) == 1 else 'tell more than their'} pixels; {done}:"
        )
        for name, what in seen.told[:SHOWN]:
            show.line(f"    {name}: {what}")
    if settings.scrub and seen.kept:
        show.line(f"  {amount(len(seen.kept), 'image')} {'is' if len(seen.kept) == 1 else 'are'} left out, because Easel cannot remove it from their format: {', '.join(seen.kept[:SHOWN])}")  # fmt: skip
    if seen.folders:
        show.line(f"  the names of folders go along: {', '.join(seen.folders[:SHOWN])}")
