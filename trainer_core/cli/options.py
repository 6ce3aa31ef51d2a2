"""What options of several commands have in common."""

from __future__ import annotations

import click

from trainer_core.families import load_families

JSON_HELP = "Print it as JSON."


def known_family(context: click.Context | None, option: click.Parameter | None, family: str) -> str:
    """The id of a family as it was given, or "" for any; to be an option's callback.

    Raises:
        click.BadParameter: there is no such family. A wrong word must not read as "there is nothing for it".
    """
    del context, option
    if family and family not in load_families():
        raise click.BadParameter(f"{family!r:.50} is no family. Known: {', '.join(sorted(load_families()))}.")
    return family
