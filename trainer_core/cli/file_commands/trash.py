"""`easel files trash`: what was deleted, and its removal for good."""

from __future__ import annotations

import sys
import time

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP


@click.command("trash")
@click.option("--empty", is_flag=True, help="Remove everything in the trash for good.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(empty: bool, yes: bool, as_json: bool) -> None:
    """List or empty the trash."""
    from trainer_core.cli.asking import agreed
    from trainer_core.keeping import trash
    from trainer_core.text import size

    found = trash.listed()
    total = sum(one.size_bytes for one in found)
    if as_json and not empty:
        rows = [
            {"id": one.id, "file": one.spot.text, "deleted": one.deleted_s, "bytes": one.size_bytes} for one in found
        ]
        show.as_json({"trash": rows, "bytes": total})
        return
    if not as_json and found:
        cells = (
            (
                one.id,
                one.spot.text,
                time.strftime("%Y-%m-%d %H:%M", time.localtime(one.deleted_s)),
                size(one.size_bytes),
            )
            for one in found
        )
        show.table(("id", "was", "deleted", "size"), cells)
    elif not as_json:
        show.line("The trash is empty.")
    if not empty or (not found and not as_json):
        return
    if found and not yes and not agreed(f"Remove {len(found)} for good ({size(total)})?", as_json):
        sys.exit(1)
    freed = trash.empty(found)
    if as_json:
        show.as_json({"removed": [one.id for one in found], "bytes": freed})
    else:
        show.line(f"Removed {len(found)}, {size(freed)}.")
