"""`easel files delete`: moves files and folders to the trash."""

from __future__ import annotations

import sys

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP


@click.command("delete")
@click.argument("sources", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(sources: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Move SOURCES to the trash.

    `easel files restore` brings them back. What a run needs now is not deleted.
    """
    from trainer_core.cli.asking import agreed
    from trainer_core.keeping import bounds, listing, trash, uses
    from trainer_core.text import size

    spots = [bounds.named(source) for source in sources]
    for spot in spots:
        listing.entry(spot)
    total = sum(listing.measure(spot).size_bytes for spot in spots)
    if not as_json:
        for sentence in (use.sentence for use in uses.of(*spots)):
            show.line(sentence, "yellow")
    what = spots[0].text if len(spots) == 1 else f"{len(spots)} files and folders"
    if not yes and not agreed(f"Move {what} ({size(total)}) to the trash?", as_json):
        sys.exit(1)
    deleted = [(spot, trash.delete(spot)) for spot in spots]
    if as_json:
        show.as_json({"deleted": [{"file": spot.text, "id": one.id if one else spot.name} for spot, one in deleted]})
        return
    for spot, one in deleted:
        how = f"easel files restore {one.id}" if one else f"easel runs trash restore {spot.name}"
        show.line(f"{spot.text} is in the trash. Bring it back: {how}")
