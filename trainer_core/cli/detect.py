"""`easel detect`: recognises models in files, folders and links."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from trainer_core import places
from trainer_core.cli import show
from trainer_core.engines import registry, trainable
from trainer_core.errors import EaselError, HeaderError
from trainer_core.models import detection, header
from trainer_core.models.detection import Detection
from trainer_core.models.families import load_families
from trainer_core.models.header import Header
from trainer_core.prepare import companions
from trainer_core.text import printable

PIPELINE, COMPONENT = "model_index.json", "config.json"
"""The file in a diffusers folder, and the file in the folder of one component."""


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, one object per file.")
def detect(models: tuple[str, ...], as_json: bool) -> None:
    """Recognise models from their headers.

    MODELS are files, diffusers folders, folders of models, or links. Of a link, only the header is downloaded.
    """
    rows = [row for model in models for row in _rows(model)]
    if as_json:
        show.as_json(rows)
    else:
        for row in rows:
            _show(row)
    sys.exit(1 if any(row["error"] for row in rows) else 0)


def _rows(model: str) -> Iterator[dict[str, Any]]:
    """The results for one argument; a folder that is not a model itself gives all the models in it."""
    path = places.typed(model)
    try:
        if not model.strip():
            raise HeaderError("The name of the model is empty.", "Name a file, a folder or a link.")
        if places.is_folder(path) and not _is_model(path):
            yield from _in_folder(path)
            return
        yield described(_shown(model), detection.detect(_header(model, path)), "")
    except EaselError as error:
        yield described(_shown(model), None, str(error))


def _is_model(folder: Path) -> bool:
    """Whether a folder is one model: a diffusers folder, or a component with its weights. Other folders have a config.json too."""
    if places.is_there(folder / PIPELINE):
        return True
    try:
        return places.is_there(folder / COMPONENT) and bool(header.read(folder))
    except HeaderError:
        return False


def _in_folder(folder: Path) -> Iterator[dict[str, Any]]:
    """The models in a folder.

    Raises:
        HeaderError: there is none, or the folder cannot be read.
    """
    from trainer_core.models import library

    found = library.scan([folder])
    if not found.entries:
        missing = f"There is no model in the folder {printable(folder.name or str(folder), 200)}."
        raise HeaderError(" ".join((missing, *found.notices)))
    for notice in found.notices:
        show.notice(notice)
    yield from (described(str(entry.path), entry.found, entry.error) for entry in found.entries)


def _header(model: str, path: Path) -> Header:
    """The header of the model at a path, or else of the model behind a link."""
    if places.is_there(path):
        return header.read(path)
    from trainer_core.models import downloads

    link = downloads.parse(model)
    return header.read(path) if link is None else downloads.read_header(link)


def _shown(model: str) -> str:
    """An argument as it is printed: the path of a file as it was given, a link without its secrets."""
    if places.is_there(places.typed(model)):
        return model
    from trainer_core.models import downloads

    return downloads.shown(model)


def described(path: str, found: Detection | None, error: str) -> dict[str, Any]:
    """What is known of a model, as this command's JSON object.

    `missing_parts` are the settings of the companion files that the engine which Easel would choose needs, `untrained` has the reason of each engine that
    does not train it.
    """
    shown = dataclasses.asdict(found or Detection(None, "unknown"))
    first = ("role", "family", "variant", "prediction", "dtype", "format", "base_family", "evidence", "rejected")
    engines = [engine.manifest for engine in registry.available()] if found else []
    reasons = {manifest.id: trainable.why_not(found, manifest) for manifest in engines} if found else {}
    row = {"path": path, **{key: shown.pop(key) for key in first}}
    row["trainable_by"] = [engine for engine, reason in reasons.items() if not reason]
    row["missing_parts"] = list(companions.needed(found))
    row["error"] = error or None
    return {**row, "untrained": {engine: reason for engine, reason in reasons.items() if reason}, **shown}


def _show(row: dict[str, Any]) -> None:
    show.line(row["path"], "bold")
    if row["error"]:
        show.line(f"  {row['error']}", "red")
        return
    kind = (row["role"].replace("_", " "), variant(row), row["dtype"])
    show.line(f"  {', '.join(filter(None, kind))}: {_model(row)}")
    if row["guess"]:
        show.line(f"    perhaps {row['guess']['title']}: {row['guess']['evidence']} ({row['guess']['basis']}; a guess)")
    for reason in row["evidence"]:
        show.line(f"    because {reason}", "dim")
    if row["missing_parts"] and row["trainable_by"]:
        show.line(f"  needs companion files: {', '.join(row['missing_parts'])}")
    if row["role"] in trainable.BASES:
        show.line(f"  trained by: {', '.join(row['trainable_by']) or 'no engine in this version'}")
        for reason in () if row["trainable_by"] else dict.fromkeys(row["untrained"].values()):
            show.line(f"    {reason}", "dim")


def variant(row: dict[str, Any]) -> str:
    """The variant; where no header tells it from others, these too: all that are named alike, and the one that is guessed."""
    family, seen = load_families().get(row["family"] or ""), row["variant"]
    twins = family.twins.get(seen, ()) if family else ()
    guessed = row["guess"]["variant"] if row["guess"] else ""
    is_possible = family is not None and bool(seen) and guessed in family.alike(seen, row["layout"])
    return " or ".join(dict.fromkeys((seen, *twins, *([guessed] if is_possible else []))))


def _model(row: dict[str, Any]) -> str:
    known = load_families()
    if base := known.get(row["base_family"] or ""):
        return f"made for {base.title}"
    family = known.get(row["family"] or "")
    if row["role"] not in trainable.BASES:
        return "for no known family" if row["role"] in ("lora", "controlnet", "embedding") else ""
    return f"{family.title if family else 'unknown family'}, predicts {row['prediction'] or 'unknown'}"
