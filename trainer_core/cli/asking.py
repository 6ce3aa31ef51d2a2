"""How the command line writes a number of bytes, and asks before it changes something; not what is measured."""

from __future__ import annotations

import sys

import click

from trainer_core.cli import show
from trainer_core.errors import EaselError, wrong_use


def size(count: int) -> str:
    """A number of bytes in a unit that suits it."""
    for unit, width in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= width:
            return f"{count / width:.1f} {unit}"
    return f"{count} bytes"


def agreed(question: str, as_json: bool = False) -> bool:
    """Whether the user agrees. Without a terminal to ask, and with --json, nobody does.

    Raises:
        EaselError: with --json, so that the reason is in the JSON data.
    """
    if as_json:
        raise wrong_use(EaselError("With --json nobody is asked, so nothing was changed.", "Add --yes to continue."))
    if not sys.stdin.isatty():
        show.line("There is no terminal to ask: add --yes to continue. Nothing was changed.")
        return False
    return click.confirm(question)
