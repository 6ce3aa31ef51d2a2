"""How the command line asks before it changes something."""

from __future__ import annotations

import sys

import click

from trainer_core.cli import show
from trainer_core.errors import EaselError, wrong_use


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
