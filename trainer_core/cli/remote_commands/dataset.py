"""`easel remote dataset`: datasets for training on other machines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli import show
from trainer_core.cli.bucket_options import address_of, bucket_options, opened, values_of

if TYPE_CHECKING:
    from trainer_core.remote.credentials import Settings

SHOWN = 5


@click.group("dataset")
def command() -> None:
    """Bring datasets to a bucket, for training on other machines."""


@command.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--to", "address", default="", metavar="ADDRESS", help="The folder in a bucket, such as s3://my-bucket/cats/."
)
@click.option("--style", default="", metavar="ID", help="Instead of --to: styles/ID/ in S3_USER_BUCKET.")
@click.option("--selection", default="", metavar="NAME", help="Only the images of this selection.")
@click.option("--caption-extension", default=".txt", show_default=True, help="The file extension of captions.")
@click.option("--replace", is_flag=True, help="Replace objects that have another content, such as older captions.")
@bucket_options
def upload(folder: Path, address: str, style: str, *, as_json: bool, **wanted: Any) -> None:
    """Upload images and captions to a bucket.

    The images are those of the dataset in FOLDER. What is there already is not sent again, and another object is not replaced without --replace. The files go as they are: with
    the place, the camera and the prompt that an image may tell.
    """
    from trainer_core.remote import datasets
    from trainer_core.text import amount

    if bool(address) == bool(style):
        raise click.UsageError("Give either --to ADDRESS or --style ID.")
    values = values_of(wanted["env_file"], ask_key=wanted["ask_key"])
    where = address_of(address or _of_style(style, values), values)
    found = datasets.contents(folder, wanted["selection"], wanted["caption_extension"])
    with opened(where, values) as bucket:
        done = datasets.upload(bucket, folder, where.key, found, replaces=wanted["replace"])
    if as_json:
        left = [{"file": name, "reason": reason} for name, reason in found.left_out]
        counts = {"sent": done.sent, "replaced": done.replaced, "unchanged": done.unchanged}
        show.as_json({"uris": done.uris, **counts, "left_out": left, "notes": found.notes})
        return
    images, captions = amount(len(found.images), "image"), amount(len(found.captions), "caption")
    show.line(f"{images} and {captions} are in {bucket.uri(where.key)}.", "bold")
    show.line(f"  {done.sent:,} sent, {done.replaced:,} replaced, {done.unchanged:,} were there already", "dim")
    for note in found.notes:
        show.notice(note)
    for name, reason in found.left_out[:SHOWN]:
        show.notice(f"{name} is left out: {reason}")
    if len(found.left_out) > SHOWN:
        show.notice(f"{amount(len(found.left_out) - SHOWN, 'more file')} left out; --json names all.")


def _of_style(style: str, values: Settings) -> str:
    """The folder of the images of a style, as the document "LoRA Training System" has it."""
    from trainer_core.errors import RemoteError
    from trainer_core.remote import credentials
    from trainer_core.remote.styles import checked_id

    name = values.text("S3_USER_BUCKET")
    if not name:
        raise RemoteError("The bucket of the styles is not set.", credentials.where_to_set("S3_USER_BUCKET"))
    return f"s3://{name}/styles/{checked_id(style)}/"
