"""Brings images into a dataset for the command line, from paths and links, and prints what came in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer_core.cli import show
from trainer_core.curation import originals
from trainer_core.text import amount

if TYPE_CHECKING:
    from trainer_core.curation.importing import Imported, Wishes

SHOWN = 20
CONVERT_HELP = (
    "Convert images that came in: heic, tiff, gif, avif, animated, large, turned, cmyk, deep, profile, or all. Can be "
    "given several times. The originals are kept: `easel dataset convert FOLDER --originals EDIT` brings them back."
)


def bring_in(
    folder: Path,
    sources: Sequence[str],
    convert: Sequence[str],
    caption_extension: str,
    *,
    previews: bool = False,
    as_json: bool,
) -> None:
    """Imports the sources into the dataset in a folder, and prints what came in; or what would, if it only `previews`.

    Raises:
        DatasetError: nothing was imported.
        DownloadError: a link cannot be fetched.
    """
    from trainer_core.curation import converting, importing, known

    wanted = wanted_kinds(convert)
    found, conversions = _imported(folder, sources, importing.Wishes(caption_extension, wanted), previews=previews)
    if not previews:
        known.remember(folder)
    if as_json:
        show.as_json(
            {**dataclasses.asdict(found), "conversions": conversions} if previews else dataclasses.asdict(found)
        )
        return
    _show(found, f"would come into {folder}" if previews else f"came into {folder}")
    for key, count in conversions.items():
        show.line(f"--convert {key} would change {amount(count, 'image')}. {converting.KINDS[key].help}")


def wanted_kinds(convert: Sequence[str]) -> list[str]:
    """The kinds of conversion that a user named; "all" is each."""
    from trainer_core.curation import converting

    if unknown := set(convert) - {*converting.KINDS, "all"}:
        raise click.UsageError(
            f"{', '.join(sorted(unknown))}: no such conversion. Known: {', '.join(converting.KINDS)}, all."
        )
    return list(converting.KINDS) if "all" in convert else list(convert)


def _imported(
    folder: Path, sources: Sequence[str], wishes: Wishes, *, previews: bool
) -> tuple[Imported, dict[str, int]]:
    """What came in, or what would, and how many images could be converted."""
    from trainer_core import places
    from trainer_core.cli.download import interrupted, progress_bar
    from trainer_core.curation import fetching, importing
    from trainer_core.curation.unpacking import Going

    links = [fetching.parse(text) for text in sources]
    with ExitStack() as stack:
        cancel = stack.enter_context(interrupted())
        paths: list[Path] = []
        left: list[tuple[str, str]] = []
        for text, link in zip(sources, links, strict=True):
            if link is None:
                paths.append(places.typed(text))
                continue
            for notice in link.notes:
                show.notice(notice)
            found = fetching.look(link, fetching.Way(cancel=cancel))
            show.notice(f"{found.origin}: {found.told}")
            tell = stack.enter_context(progress_bar())
            here = stack.enter_context(
                fetching.fetched(found, fetching.Way(progress=tell, cancel=cancel, keeps=previews))
            )
            paths += here.sources
            left += here.left_out
        origins = [link.shown for link in links if link is not None]
        if origins and len(origins) == len(links):
            wishes = dataclasses.replace(wishes, origin=", ".join(origins))
        with importing.Incoming(folder, paths, wishes, Going(cancel=cancel)) as ready:
            done = ready.preview if previews else ready.apply(wishes.convert)
            conversions = ready.conversions() if previews else {}
        return dataclasses.replace(done, left_out=(*left, *done.left_out)), conversions


def _show(found: Imported, where: str) -> None:
    for before, now in found.renamed[:SHOWN]:
        show.line(f"{before} is named {now} now.")
    for name, reason in found.left_out[:SHOWN]:
        show.line(f"{name} was left out: {reason}.")
    for note in found.notes[:SHOWN]:
        show.line(note)
    hidden = sum(max(0, len(one) - SHOWN) for one in (found.renamed, found.left_out, found.notes))
    if hidden:
        show.line(f"and {hidden:,} more; --json lists all")
    known = f", {len(found.known):,} {'was' if len(found.known) == 1 else 'were'} there already" if found.known else ""
    masks = f", {amount(found.masks, 'mask')}" if found.masks else ""
    show.line(f"{amount(found.images, 'image')} and {amount(found.captions, 'caption')}{masks} {where}{known}.")
    if found.converted and found.edit is not None:
        show.line(originals.told(found.edit.number, len(found.converted)))
        show.line(f"`easel dataset convert FOLDER --originals {found.edit.number}` brings them back.")
