"""`easel dataset dedupe`: finds copies of images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP

if TYPE_CHECKING:
    from trainer_core.curation.duplicates import Member


@click.command("dedupe")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--move-out",
    is_flag=True,
    help="Take the copies out of the dataset, with their captions; the best of each group stays.",
)
@click.option(
    "--edited", is_flag=True, help="With --move-out: also edited and mirrored copies, not only the same image."
)
@click.option("--caption-extension", default=".txt", show_default=True, help="The file extension of captions.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: Path, move_out: bool, edited: bool, caption_extension: str, as_json: bool) -> None:
    """Show groups of images that are copies of each other.

    The best of a group has the most pixels, then a caption, then the largest file. Other images of the same scene are no
    copies. `easel dataset undo` takes --move-out back.
    """
    from trainer_core.curation import duplicates
    from trainer_core.curation.journal import Journal

    if edited and not move_out:
        raise click.UsageError("--edited is for --move-out.")
    journal = Journal(folder)
    journal.recover()
    groups = duplicates.groups(folder, caption_extension)
    unwanted = [one for group in groups for one in group.others if one.kind != "edited" or edited]
    edit = None
    if move_out and unwanted:
        changes = duplicates.moved_out(folder, unwanted, caption_extension)
        edit = journal.apply(
            "dedupe", f"Move {len(unwanted):,} {'copy' if len(unwanted) == 1 else 'copies'} out", changes
        )
    if as_json:
        show.as_json({"groups": [dataclasses.asdict(group) for group in groups], "edit": edit.number if edit else None})
        return
    for group in groups:
        show.line(f"{group.best.path} ({_size(group.best)})")
        for one in group.others:
            turned = ", mirrored" if one.is_mirrored else ""
            show.line(f"  {one.path} ({_size(one)}): {duplicates.KINDS[one.kind]}{turned}")
    if not groups:
        show.line("There are no copies.")
    elif edit is not None:
        show.line(
            f"{'1 copy was' if len(unwanted) == 1 else f'{len(unwanted):,} copies were'} moved out. `easel dataset undo` takes it back."
        )
    elif move_out:
        show.line("Nothing was moved out: these are edited copies. --edited takes them, too.")


def _size(one: Member) -> str:
    return f"{one.width} x {one.height}" if one.width else "cannot be read"
