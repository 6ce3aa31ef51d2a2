"""`easel remote s3 link`: an address with which everybody can read an object for a while."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click

from trainer_core.cli import show
from trainer_core.cli.bucket_options import address_of, bucket_options, values_of


@click.command("link")
@click.argument("address")
@click.option(
    "--minutes",
    type=click.IntRange(1, 7 * 24 * 60),
    default=60,
    show_default=True,
    help="How long the link is valid; 10080, which are 7 days, at most.",
)
@bucket_options
def command(address: str, minutes: int, env_file: Path | None, ask_key: bool, as_json: bool) -> None:
    """Print a link to an object.

    With it, everybody can read the object at ADDRESS for a while: give it only to those who may.
    """
    from trainer_core.errors import RemoteError, wrong_use
    from trainer_core.remote.storage import connect, link, look

    values = values_of(env_file, ask_key=ask_key)
    where = address_of(address, values)
    if where.is_folder:
        raise wrong_use(RemoteError(f"{where.uri} is a folder.", "A link is for one object."))
    bucket = connect(where, values)
    if look(bucket, where.key) is None:
        raise RemoteError(
            f"There is no object {where.uri}.", "Check the address: upper and lower case differ.", "missing"
        )
    found = link(bucket, where.key, minutes * 60)
    until = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)
    if as_json:
        # As it is: what the command line prints elsewhere has no signatures.
        show.as_json({"link": found, "valid_until": until.isoformat(timespec="seconds")}, with_links=True)
        return
    click.echo(found)
    show.err.print(f"Valid until {until:%Y-%m-%d %H:%M} UTC.", style="dim")
    if bucket.is_temporary:
        show.notice("The link ends earlier if the temporary access key does.")
