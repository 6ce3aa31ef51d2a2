"""Easel's notebooks where the user sees them. Standard library only.

In a checkout they are in its folder. From a package they are copied into a folder of the user, because Jupyter saves into a notebook what
its cells have shown. A copy that the user has changed stays as it is when Easel is updated.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer_core import places
from trainer_core.errors import InstallError
from trainer_core.files import read_json, write_whole

FIRST = "LoRA_Trainer.ipynb"
_RECORD = "notebooks.json"


@dataclass(frozen=True)
class Brought:
    """Where the notebooks are, which were copied now, and which the user has changed, so that they were not."""

    folder: Path
    copied: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def folder() -> Path:
    """The folder of the notebooks: of the checkout, or the one that was chosen at the last set-up, or `Easel` in the user's home."""
    if places.in_checkout():
        return places.CHECKOUT / "notebooks"
    chosen = _read().get("folder")
    return Path(chosen) if isinstance(chosen, str) and chosen else Path.home() / "Easel"


def bring(to: Path | None = None) -> Brought:
    """Brings the notebooks of this Easel into the folder, and a link to what Easel writes, which JupyterLab does not list elsewhere.

    Raises:
        InstallError: the folder cannot be written.
    """
    target = (to or folder()).absolute()
    if places.in_checkout():
        if target != folder():
            raise InstallError("The notebooks of a checkout stay in it.", f"Open them in {folder()}.")
        return Brought(target)
    known = _read().get("cells")
    known = dict(known) if isinstance(known, dict) else {}
    copied, changed = [], []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for shipped in sorted(places.resource("notebooks").glob("*.ipynb")):
            mine, fresh = target / shipped.name, cells(shipped)
            here = cells(mine)
            if here and here not in (fresh, known.get(str(mine))):
                changed.append(shipped.name)
                continue
            if here != fresh:
                shutil.copyfile(shipped, mine)
                copied.append(shipped.name)
            known[str(mine)] = fresh
        if not os.path.lexists(target / "workspace"):
            (target / "workspace").symlink_to(places.home(), target_is_directory=True)
        write_whole(places.home() / _RECORD, json.dumps({"folder": str(target), "cells": known}, indent=1) + "\n")
    except OSError as error:
        raise InstallError(
            f"The notebooks cannot be copied to {target}: {error.strerror}.", "Choose another folder with --notebooks."
        ) from error
    return Brought(target, tuple(copied), tuple(changed))


def cells(notebook: Path) -> str:
    """A hash of what the cells of a notebook contain, not of what they have shown; "" if there is no such notebook.

    A file that is no notebook has a hash of its own, so that it counts as changed.
    """
    try:
        text = notebook.read_bytes()
    except OSError:
        return ""
    try:
        said = json.dumps([[cell["cell_type"], "".join(cell["source"])] for cell in json.loads(text)["cells"]]).encode()
    except (ValueError, KeyError, TypeError):
        said = text
    return hashlib.sha256(said).hexdigest()


def lab_command(python: Path) -> tuple[Path, list[str]]:
    """(the folder to start in, the words that start JupyterLab there, for this machine only and with its usual access token)."""
    root, shown = (places.CHECKOUT, f"notebooks/{FIRST}") if places.in_checkout() else (folder(), FIRST)
    words = [str(python), "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1"]
    if os.geteuid() == 0:
        # Containers and rented machines often have no other user, and Jupyter refuses to run as root by default.
        words.append("--allow-root")
    # With a file as an argument, a local browser opens it, but the printed URL does not lead to it.
    return root, [*words, f"--LabApp.default_url=/lab/tree/{shown}"]


def _read() -> Mapping[str, object]:
    try:
        record = read_json(places.home() / _RECORD)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
