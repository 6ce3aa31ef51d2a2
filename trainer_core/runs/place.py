"""Where a run of an engine takes place: the facts about its installation that rendering depends on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core import environments, places
from trainer_core.backend import Backend, Place
from trainer_core.errors import RunError

TOKENIZERS = "tokenizers"
"""The folder below the models folder with tokenizers that were made or downloaded for engines that take one."""


def place_for(backend: Backend, folder: Path, captions: Mapping[str, str] | None = None) -> Place:
    """The place for a run in `folder`, which need not exist; `captions` are those of its staged pictures.

    An engine that needs no installation runs with Easel's own Python; one that is not installed gets the interpreter it would
    have, so that its command can be shown.
    """
    folder = folder.absolute()
    own = backend.manifest.id
    inside: dict[str, Any] = {"run": folder, "dataset": folder / "dataset", "output": folder / "output"}
    inside["captions"] = captions or {}
    if not backend.manifest.needs_installation:
        return Place(**inside, python=Path(sys.executable))
    found = environments.installed(own)
    if found is None:
        return Place(**inside, python=environments.engine_home(own) / "venv" / "bin" / "python")
    return Place(**inside, python=found.python, checkout=found.checkout, version=found.version, options=_options(found))


def check_installed(backend: Backend) -> None:
    """Passes for an engine that can be started.

    Raises:
        RunError: it is not installed.
    """
    own = backend.manifest
    if own.needs_installation and environments.installed(own.id) is None:
        raise RunError(
            f"{own.title} is not installed.", f"Install it with: python installer.py backend install {own.id}"
        )


def _options(found: environments.InstalledEngine) -> dict[str, Any]:
    options: dict[str, Any] = {
        **found.details,
        "accelerator": found.accelerator,
        "python_minor": ".".join(found.interpreter.split(".")[:2]),
    }
    tokenizers = places.models() / TOKENIZERS
    return {**options, "tokenizers": str(tokenizers)} if tokenizers.is_dir() else options
