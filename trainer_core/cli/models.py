"""`easel models`: the models in the library, a model's companion files, and the folders that are searched."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress

from trainer_core import places
from trainer_core.cli import show
from trainer_core.cli.detect import described, variant
from trainer_core.cli.download import download
from trainer_core.cli.methods import methods
from trainer_core.cli.options import JSON_HELP, known_family
from trainer_core.cli.starter import starter
from trainer_core.models import detection, downloads, header, library
from trainer_core.models.detection import ROLES
from trainer_core.models.library import Entry, Library
from trainer_core.prepare import companions

MISSING = 1
"""The exit code when companion files of a model are missing."""
NO_FOLDER = "No folder of models was found. Add one: easel models folders add FOLDER"


@click.group()
def models() -> None:
    """Find, list and download models.

    Easel searches its own folder, those of ComfyUI and the Stable Diffusion WebUIs, and the folders that you add.
    """


models.add_command(download)
models.add_command(methods)
models.add_command(starter)


@models.command("list")
@click.option("--role", type=click.Choice(ROLES), default=None, help="Only models of this role.")
@click.option("--family", default="", callback=known_family, help="Only models of this family, or made for it.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=None,
    help="Only this folder, whether or not it is in the library.",
)
@click.option("--refresh", is_flag=True, help="Read every model again, even if it has not changed.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, one object per model.")
def list_models(role: str | None, family: str, folder: Path | None, refresh: bool, as_json: bool) -> None:
    """List the models, newest first."""
    found = _scan(folder, refresh)
    _show(found, found.of(role=role or "", family=family), as_json)


@models.command()
@click.argument("text", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, one object per model.")
def find(text: tuple[str, ...], as_json: bool) -> None:
    """List the models that match TEXT.

    Each of its words must occur in a model's path, role, family or kind.
    """
    found = _scan()
    _show(found, found.find(" ".join(text)), as_json)


@models.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def parts(model: str, as_json: bool) -> None:
    """Show the companion files that a model needs.

    MODEL is a file, a folder or a link. The output names which of your files to use, and where to download missing ones.
    The exit code is 1 when some are missing.
    """
    path = places.typed(model)
    link = None if places.is_there(path) else downloads.parse(model)
    recognised = detection.detect(header.read(path) if link is None else downloads.read_header(link))
    found = _scan()
    needed, inside = companions.find(found, recognised), companions.inside(recognised)
    if as_json:
        show.as_json({**_needed(needed), "inside": list(inside)})
    else:
        for setting in inside:
            show.line(f"{setting}: inside the model. Set it to the model's own path.")
        if not inside or needed.found or needed.missing:
            _show_needed(needed)
        _notices(found)
    sys.exit(MISSING if needed.missing else 0)


@models.group()
def folders() -> None:
    """Show and change the folders that are searched for models."""


@folders.command("list")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def list_folders(as_json: bool) -> None:
    """List the folders that are searched, each with the reason."""
    found = library.roots()
    if as_json:
        show.as_json([dataclasses.asdict(root) for root in found.folders])
    elif not found.folders:
        show.line(NO_FOLDER)
    else:
        show.aligned([("reason", "folder"), *((root.because, str(root.path)) for root in found.folders)])
    _notices(found)


@folders.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def add(folder: Path, as_json: bool) -> None:
    """Add a FOLDER and its subfolders to the library."""
    added = library.chosen.add(folder)
    if as_json:
        show.as_json({"added": added})
    else:
        show.line(f"Added {added}.")


@folders.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def remove(folder: Path, as_json: bool) -> None:
    """Remove a FOLDER from the library; its files are not touched."""
    removed = library.chosen.remove(folder)
    if as_json:
        show.as_json({"removed": removed})
    else:
        show.line(f"Removed {removed} from the list; the folder itself was not changed.")


def _scan(folder: Path | None = None, refresh: bool = False) -> Library:
    """The library; a terminal shows a progress bar while models are read.

    Raises:
        LibraryError: `folder` is not a folder.
    """
    if folder is not None:
        folder = library.chosen.existing(folder)
    with Progress(console=show.err, transient=True, disable=not show.err.is_terminal) as bar:
        task = bar.add_task("Reading models", total=None)
        return library.scan(
            None if folder is None else [folder],
            refresh=refresh,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _show(found: Library, entries: Iterable[Entry], as_json: bool) -> None:
    entries = list(entries)
    if as_json:
        show.as_json([_row(entry) for entry in entries])
    elif not found.roots:
        show.line(NO_FOLDER)
    else:
        headings = ("role", "family", "dtype", "GB", "modified", "model")
        show.aligned([headings, *(_cells(entry) for entry in entries)])
        for entry in entries:
            if entry.error:
                show.line(f"{entry.path}: {entry.error}", "red")
        show.line(f"{len(entries)} of {len(found.entries)} models. Folders searched: {len(found.roots)}.", "dim")
    _notices(found)


def _cells(entry: Entry) -> tuple[str, ...]:
    role = entry.role.replace("_", " ") if entry.found else "not readable"
    changed = time.strftime("%Y-%m-%d", time.localtime(entry.modified_s))
    dtype = entry.found.dtype if entry.found else ""
    return role, _kind(entry), dtype, f"{entry.size_bytes / 1e9:.2f}", changed, str(entry.path)


def _row(entry: Entry) -> dict[str, Any]:
    about = {"size_bytes": entry.size_bytes, "modified_s": entry.modified_s, "app": entry.app}
    return {**described(str(entry.path), entry.found, entry.error), **about}


def _kind(entry: Entry) -> str:
    """The family and variant in one cell; a guess is marked as one."""
    found = entry.found
    if found is None:
        return ""
    possible = variant(dataclasses.asdict(found))
    base = f"for {found.base_family}" if found.base_family else ""
    text = ", ".join(filter(None, (found.family, possible, base)))
    return f"{text}; by its {found.guess.basis} {found.guess.title}" if found.guess else text


def _needed(needed: library.Companions) -> dict[str, Any]:
    passed = [{"setting": each.setting, "path": each.entry.path, "why": each.why} for each in needed.passed_over]
    return {
        "found": {setting: entry.path for setting, entry in needed.found.items()},
        "candidates": {setting: [entry.path for entry in able] for setting, able in needed.candidates.items()},
        "missing": [dataclasses.asdict(part) for part in needed.missing],
        "passed_over": passed,
        "unsure": dict(needed.unsure),
        "odd": dict(needed.odd),
    }


def _show_needed(needed: library.Companions) -> None:
    if not needed.found and not needed.missing:
        show.line("It needs no companion files.")
    for setting, entry in needed.found.items():
        show.line(f"{setting}: {entry.file or entry.path}")
        if setting in needed.unsure:
            show.line(f"    please confirm: {needed.unsure[setting]}", "yellow")
        if setting in needed.odd:
            show.line(
                f"    the engine cannot read this file: {needed.odd[setting]} A plan with it offers a fix.", "yellow"
            )
    for part in needed.missing:
        show.line(f"{part.setting}: missing. {part.why}", "bold red")
        for source in part.sources:
            show.line(f"    easel models download hf:{source.repo}/{source.file}")
    for each in needed.passed_over:
        show.line(f"    not for {each.setting}: {each.entry.path}. {each.why}", "dim")


def _notices(found: Library | library.Roots) -> None:
    for notice in found.notices:
        show.notice(notice)
