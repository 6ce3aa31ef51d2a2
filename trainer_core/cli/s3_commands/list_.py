"""`easel remote s3 list`: the objects of a bucket, or of a folder in it."""

from __future__ import annotations

import itertools
from pathlib import Path

import click

from trainer_core.cli import show
from trainer_core.cli.bucket_options import address_of, bucket_options, values_of


@click.command("list")
@click.argument("address", default="")
@click.option(
    "--limit", type=click.IntRange(1), default=1000, show_default=True, help="How many objects are listed at most."
)
@bucket_options
def command(address: str, limit: int, env_file: Path | None, ask_key: bool, as_json: bool) -> None:
    """List the objects of a bucket or a folder.

    These are the ones whose address begins with ADDRESS; without it, those of S3_USER_BUCKET.
    """
    from trainer_core.remote.storage import connect, items
    from trainer_core.text import amount, size

    values = values_of(env_file, ask_key=ask_key)
    where = address_of(address, values)
    bucket = connect(where, values)
    found = list(itertools.islice(items(bucket, where.key), limit + 1))
    listed, has_more = found[:limit], len(found) > limit
    if as_json:
        rows = [
            {
                "key": item.key,
                "uri": bucket.uri(item.key),
                "size": item.size_bytes,
                "etag": item.etag,
                "changed": item.modified.isoformat() if item.modified else None,
            }
            for item in listed
        ]
        show.as_json({"bucket": bucket.name, "prefix": where.key, "objects": rows, "has_more": has_more})
        return
    if not listed:
        show.line(f"No object of {bucket.name} begins with {where.key}." if where.key else f"{bucket.name} is empty.")
        return
    changed = (f"{item.modified:%Y-%m-%d %H:%M}" if item.modified else "" for item in listed)
    show.table(
        ("key", "size", "changed"),
        ((item.key, size(item.size_bytes), when) for item, when in zip(listed, changed, strict=True)),
    )
    if has_more:
        show.line(f"There are more than {amount(limit, 'object')}: choose a folder, or a higher --limit.", "dim")
