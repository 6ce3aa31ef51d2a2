"""The place of a run: the facts about an engine's installation that rendering depends on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.engines.seam import Backend, BackendManifest, Place
from trainer_core.errors import RunError
from trainer_core.install.hub_files import TOKENIZERS
from trainer_core.install.installed import InstalledEngine, engine_home, installed
from trainer_core.plan import fields
from trainer_core.plan.elsewhere import is_on_hub
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.subsets import LIST, with_paths


def place_for(backend: Backend, folder: Path, captions: Mapping[str, str] | None = None) -> Place:
    """The place for a run in `folder`, which need not exist yet; `captions` are those of its staged images.

    An engine that needs no installation runs with Easel's own Python. An engine that is not installed gets the path that its
    interpreter would have, so that its command can be shown.
    """
    folder = folder.absolute()
    own = backend.manifest.id
    inside: dict[str, Any] = {"run": folder, "dataset": folder / "dataset", "output": folder / "output"}
    inside["captions"] = captions or {}
    if not backend.manifest.needs_installation:
        return Place(**inside, python=Path(sys.executable))
    found = installed(own)
    if found is None:
        return Place(**inside, python=engine_home(own) / "venv" / "bin" / "python")
    return Place(**inside, python=found.python, checkout=found.checkout, version=found.version, options=_options(found))


def at_place(plan: TrainingPlan, manifest: BackendManifest, place: Place) -> TrainingPlan:
    """The plan with its paths converted to those at `place`; an engine gets its paths only from this plan."""
    flat = fields.flatten(plan.model_dump())
    for setting in fields.paths():
        if (text := flat[setting.path]) and not is_on_hub(setting.path, text):
            flat[setting.path] = place.path(text)
    flat[LIST] = with_paths(flat[LIST], place.path)
    weights = manifest.options.weights
    own = {
        name: _at(value, place) if name in weights else value
        for name, value in plan.native.get(manifest.id, {}).items()
    }
    flat["native"] = {**plan.native, manifest.id: own} if own else plan.native
    return TrainingPlan.model_validate(fields.nest(flat))


def _at(value: Any, place: Place) -> Any:
    """The path, or each path of a list, as it is at `place`."""
    if isinstance(value, list | tuple):
        return [_at(each, place) for each in value]
    return place.path(value) if isinstance(value, str) else value


def check_installed(backend: Backend) -> None:
    """Checks that an engine can be started.

    Raises:
        RunError: it is not installed.
    """
    own = backend.manifest
    if own.needs_installation and installed(own.id) is None:
        raise RunError(f"{own.title} is not installed.", f"Install it with: {places.engine_command('install', own.id)}")


def _options(found: InstalledEngine) -> dict[str, Any]:
    options: dict[str, Any] = {
        **found.details,
        "accelerator": found.accelerator,
        "python_minor": ".".join(found.interpreter.split(".")[:2]),
    }
    tokenizers = places.models() / TOKENIZERS
    return {**options, "tokenizers": str(tokenizers)} if tokenizers.is_dir() else options
