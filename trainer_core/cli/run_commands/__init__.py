"""The commands of `easel runs` that only runs have: one module each, with a click command called `command`. Not: those of all jobs."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import click


def commands() -> Iterator[click.Command]:
    """The command of each module of this package, by the module's name."""
    for found in sorted(pkgutil.iter_modules(__path__), key=lambda each: each.name):
        yield importlib.import_module(f"{__name__}.{found.name}").command
