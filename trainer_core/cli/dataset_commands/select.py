"""`easel dataset select`: keeps named selections of images, and what to keep or reject."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.text import printable

if TYPE_CHECKING:
    from trainer_core.curation.selections import Selections


@click.command("select")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--filter", "text", metavar="FILTER", help="The images; `easel dataset list --fields` says what it can ask for."
)
@click.option("--save", metavar="NAME", help="Keep these images as a selection with this name.")
@click.option("--choose", type=click.Choice(["keep", "reject", "undecided"]), help="Decide about these images.")
@click.option("--remove", metavar="NAME", help="Remove a selection; its images stay.")
@click.option("--rename", nargs=2, metavar="NAME NEW", help="Give a selection another name.")
@click.option("--set-aside", is_flag=True, help="Move the rejected images into a folder beside the dataset.")
@click.option("--engine", default="", help="The engine whose rules are used.  [default: the first by rank]")
@click.option("--caption-extension", default=".txt", show_default=True, help="The file extension of captions.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(
    folder: Path,
    *,
    text: str | None,
    save: str | None,
    choose: str | None,
    remove: str | None,
    rename: tuple[str, str] | None,
    set_aside: bool,
    engine: str,
    caption_extension: str,
    as_json: bool,
) -> None:
    """Keep, reject or name images that fit a filter.

    Without an option, the selections are shown. `easel dataset undo` takes --set-aside back.
    """
    from trainer_core.cli.dataset_commands.list_ import listed, understood
    from trainer_core.curation import selections, taking_out
    from trainer_core.curation.journal import Journal

    if (text is None) != (save is None and choose is None):
        raise click.UsageError("--filter goes with --save or --choose, and they need it. An empty one is every image.")
    Journal(folder).recover()
    # A change writes the file anew, so what could not be read is known only before.
    notes = selections.read(folder).notes
    images: list[str] = []
    if text is not None:
        chosen = understood(text, folder)
        images = [entry.path for entry in listed(folder, engine, caption_extension) if chosen.matches(entry)]
    _change(folder, images, save=save, choose=choose, remove=remove, rename=rename)
    kept = selections.read(folder)
    aside = None
    if set_aside:
        rejected = [path for path, choice in kept.choices.items() if choice == "reject" and path not in kept.gone]
        aside = taking_out.set_aside(folder, rejected, caption_extension)
        kept = selections.read(folder)
    if as_json:
        show.as_json(
            {
                "selections": kept.named,
                "choices": kept.choices,
                "gone": sorted(kept.gone),
                "notes": notes,
                "set_aside": None if aside is None else {"edit": aside.edit.number, "folder": aside.folder},
            }
        )
        return
    for note in notes:
        show.line(note, "yellow")
    if text is not None:
        show.line(f"{_counted(len(images))}.")
    if aside is not None:
        show.line(
            f"{_counted(aside.images)} moved to {printable(str(aside.folder), 200)}. `easel dataset undo` brings them back."
        )
    elif set_aside:
        show.line("No image is rejected, so none was moved.")
    _show(kept)


def _change(
    folder: Path,
    images: list[str],
    *,
    save: str | None,
    choose: str | None,
    remove: str | None,
    rename: tuple[str, str] | None,
) -> None:
    """Makes the changes that were asked for."""
    from trainer_core.curation import selections

    if rename:
        selections.rename(folder, *rename)
    if remove is not None:
        selections.remove(folder, remove)
    if save is not None:
        selections.keep(folder, save, images)
    if choose is not None:
        selections.choose(folder, images, "" if choose == "undecided" else "keep" if choose == "keep" else "reject")


def _show(kept: Selections) -> None:
    show.table(
        ("selection", "images", "not there"),
        [
            (name, f"{len(kept.images(name)):,}", ", ".join(printable(one, 40) for one in kept.missing(name)[:3]))
            for name in kept.named
        ],
    )
    counts = {choice: sum(one == choice for one in kept.choices.values()) for choice in ("keep", "reject")}
    if any(counts.values()):
        show.line(f"{counts['keep']:,} to keep, {counts['reject']:,} rejected.")
    elif not kept.named:
        show.line("There are no selections.")


def _counted(number: int) -> str:
    return f"{number:,} {'image' if number == 1 else 'images'}"
