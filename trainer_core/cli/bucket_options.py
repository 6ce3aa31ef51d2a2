"""What the commands that use a bucket share: where keys are from, the connection, and the progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli.options import JSON_HELP

if TYPE_CHECKING:
    from trainer_core.remote.addresses import Address
    from trainer_core.remote.credentials import Settings
    from trainer_core.remote.storage import Bucket


def bucket_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of a command that uses a bucket."""
    function = click.option("--json", "as_json", is_flag=True, help=JSON_HELP)(function)
    function = click.option("--ask-key", is_flag=True, help="Ask for an access key, without showing it.")(function)
    return click.option(
        "--env-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Read keys and settings from this file. Default: .env in the working folder.",
    )(function)


def values_of(env_file: Path | None, *, ask_key: bool) -> Settings:
    """The settings of the user; the access key is asked for if wanted, and kept in the memory of this process only."""
    from trainer_core.remote import credentials

    if ask_key:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            credentials.remember(
                name, click.prompt(credentials.KNOWN[name].title.capitalize(), hide_input=True, err=True)
            )
    return credentials.settings(env_file)


def address_of(text: str, values: Settings) -> Address:
    """The address that the user typed; without one the bucket in S3_USER_BUCKET.

    Raises:
        RemoteError: it is no address of a bucket, or there is none.
    """
    from trainer_core.errors import RemoteError, wrong_use
    from trainer_core.remote import addresses
    from trainer_core.remote.storage import bucket

    name = "" if text else values.text("S3_USER_BUCKET")
    if not (text or name):
        raise wrong_use(RemoteError("No address was given.", "Give s3://BUCKET/FOLDER/, or set S3_USER_BUCKET."))
    endpoint = bucket.endpoint_of(values)
    return addresses.parse(text or f"s3://{name}", [endpoint] if endpoint else [])


@contextmanager
def opened(address: Address, values: Settings) -> Iterator[Bucket]:
    """The bucket of an address; its transfers show a bar in the terminal, and Ctrl+C stops them."""
    from trainer_core.cli.download import interrupted, progress_bar
    from trainer_core.remote.storage import Work, connect

    with interrupted() as cancel, progress_bar() as tell:
        yield connect(address, values, Work(cancel=cancel, tell=tell))
