"""Groups whose commands are one module each."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import click


def commands_in(package: ModuleType) -> Iterator[click.Command]:
    """The `command` of each module of a package, by the module's name."""
    for found in sorted(pkgutil.iter_modules(package.__path__), key=lambda each: each.name):
        yield importlib.import_module(f"{package.__name__}.{found.name}").command
