"""`easel files list`: what is in a folder, or which folders there are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP

if TYPE_CHECKING:
    from trainer_core.keeping.bounds import Root

SORTS = ("name", "size", "date", "kind")


@click.command("list")
@click.argument("folder", default="")
@click.option("--sort", type=click.Choice(SORTS), default="name", help="The order of the list.")
@click.option("--descending", is_flag=True, help="The largest or newest first.")
@click.option("--find", default="", help="Only names that contain this.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: str, sort: str, descending: bool, find: str, as_json: bool) -> None:
    """List what is in FOLDER; without it, the folders."""
    from trainer_core.keeping import bounds, listing
    from trainer_core.text import size

    if not folder:
        _list_roots(as_json)
        return
    found = listing.look(bounds.named(folder))
    entries = listing.ordered(found.entries, sort, descending=descending, find=find)
    if as_json:
        rows = [each.as_dict() for each in entries]
        show.as_json({"folder": found.spot.text, "path": found.spot.path, "entries": rows, "left_out": found.left_out})
        return
    cells = (
        (
            each.name + ("/" if each.is_folder else ""),
            each.kind
            if not each.link
            else f"{each.kind}, link" + (" out of the folder" if each.link == "outside" else ""),
            "" if each.is_folder else size(each.size_bytes),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(each.modified_s)),
        )
        for each in entries
    )
    if entries:
        show.table(("name", "kind", "size", "changed"), cells)
    else:
        show.line("Nothing is in it." if not find else "No name contains this.")
    if found.left_out:
        show.line(f"{found.left_out:,} more are not listed: their names are not text, or they are too many.", "dim")


def _list_roots(as_json: bool) -> None:
    from trainer_core.keeping import bounds
    from trainer_core.text import size

    rows = [_row(root) for root in bounds.roots()]
    if as_json:
        show.as_json({"folders": rows})
        return
    cells = (
        (row["id"], row["title"], f"{size(row['free'])} free" if row["free"] is not None else "", row["path"])
        for row in rows
    )
    show.table(("folder", "title", "disk", "path"), cells)


def _row(root: Root) -> dict[str, Any]:
    from trainer_core.keeping import listing
    from trainer_core.keeping.bounds import Spot

    space = listing.space(Spot(root))
    return {
        "id": root.id,
        "title": root.title,
        "path": root.path,
        "free": space.free if space else None,
        "total": space.total if space else None,
        "can_change": not root.is_fixed and not root.is_managed,
    }
