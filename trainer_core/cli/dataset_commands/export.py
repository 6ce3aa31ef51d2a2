"""`easel dataset export`: copies a dataset out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.text import amount

SHOWN = 5


@click.command("export")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--private", is_flag=True, help="Without position, camera and prompts; the pixels stay as they are.")
@click.option("--layout", type=click.Choice(["plain", "hub"]), default="plain", show_default=True, help="hub: captions in metadata.jsonl, and a dataset card.")  # fmt: skip
@click.option(
    "--licence", "--license", default="none", metavar="ID", help="The licence in the card, as the Hub calls it."
)
@click.option("--trigger", default="", help="The trigger word, for the card.")
@click.option("--caption-extension", default=".txt", show_default=True, help="The file extension of captions.")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(
    folder: Path,
    target: Path,
    *,
    private: bool,
    layout: str,
    licence: str,
    trigger: str,
    caption_extension: str,
    as_json: bool,
) -> None:
    """Copy the images and captions of FOLDER to TARGET.

    TARGET is a new folder, or a new zip if its name ends in .zip.
    """
    from trainer_core.curation import exporting

    card = ""
    if layout == "hub":
        from trainer_core.publishing import dataset_card

        card = dataset_card.draft(folder, licence=licence, trigger=trigger, ending=caption_extension)
    form = exporting.Form(private, caption_extension, "hub" if layout == "hub" else "plain", card)
    found = exporting.export(folder, target, form)
    if as_json:
        show.as_json(dataclasses.asdict(found))
        return
    for name, reason in found.left_out[:SHOWN]:
        show.line(f"{name} was left out: {reason}.")
    if found.told:
        show.line(
            f"{amount(len(found.told), 'image')} {'tells more than its' if len(found.told) == 1 else 'tell more than their'} pixels; --private removes it:"
        )
        for name, what in found.told[:SHOWN]:
            show.line(f"  {name}: {what}")
    show.line(f"{amount(found.images, 'image')} and {amount(found.captions, 'caption')} were copied to {target}.")
