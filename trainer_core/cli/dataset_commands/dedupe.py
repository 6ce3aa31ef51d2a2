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
@click.option(
    "--crops", is_flag=True, help="Also ask about images that may be a part of another one; slow for thousands."
)
@click.option("--caption-extension", default=".txt", show_default=True, help="The file extension of captions.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(folder: Path, *, move_out: bool, edited: bool, crops: bool, caption_extension: str, as_json: bool) -> None:
    """Show groups of images that are copies of each other.

    The best of a group has the most pixels, then no JPEG blocks, then a caption, then the largest file. Other images of the same scene are no
    copies. `easel dataset undo` takes --move-out back.
    """
    from trainer_core.cli.dataset_commands.score import measured
    from trainer_core.curation import duplicates
    from trainer_core.curation.crops import find
    from trainer_core.curation.journal import Journal

    if edited and not move_out:
        raise click.UsageError("--edited is for --move-out.")
    journal = Journal(folder)
    journal.recover()
    looks = measured(folder)
    groups = duplicates.groups(folder, caption_extension, seen=looks)
    pairs = {frozenset((one.path, other.path)) for group in groups for one in (group.best, *group.others) for other in group.others}  # fmt: skip
    prints = {path: look.fingerprint for path, look in looks.items() if look.fingerprint is not None} if crops else {}
    parts = find(prints, pairs)
    unwanted = [one for group in groups for one in group.others if one.kind != "edited" or edited]
    edit = None
    if move_out and unwanted:
        changes = duplicates.moved_out(folder, unwanted, caption_extension)
        edit = journal.apply(
            "dedupe", f"Move {len(unwanted):,} {'copy' if len(unwanted) == 1 else 'copies'} out", changes
        )
    if as_json:
        show.as_json(
            {
                "groups": [dataclasses.asdict(group) for group in groups],
                "crops": [dataclasses.asdict(one) for one in parts],
                "edit": edit.number if edit else None,
            }
        )
        return
    for group in groups:
        show.line(f"{group.best.path} ({_size(group.best)})")
        for one in group.others:
            turned = ", mirrored" if one.is_mirrored else ""
            show.line(f"  {one.path} ({_size(one)}): {duplicates.KINDS[one.kind]}{turned}")
    for one in parts:
        show.line(
            f"Is {one.path} a part of {one.whole} (about {100 * one.share:.0f} % of it)? Look at both; it is not moved out."
        )
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
