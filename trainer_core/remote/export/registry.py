"""Finds the exporters: one module each in `targets`."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping

from trainer_core.errors import RemoteError, wrong_use
from trainer_core.remote.export import targets
from trainer_core.remote.export.task import Exporter


def names() -> tuple[str, ...]:
    """The ids of the exporters, which are the names of their modules."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(targets.__path__)))


@functools.cache
def known() -> Mapping[str, Exporter]:
    """The exporters by id."""
    return {name: importlib.import_module(f"{targets.__name__}.{name}").exporter for name in names()}


def get(name: str) -> Exporter:
    """The exporter with this id.

    Raises:
        RemoteError: there is none.
    """
    if name not in known():
        raise wrong_use(RemoteError(f"There is no export for {name!r:.50}.", f"Known: {', '.join(names())}."))
    return known()[name]
