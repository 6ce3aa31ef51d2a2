"""What the options of several commands share."""

from __future__ import annotations

import click

from trainer_core.models.families import load_families

JSON_HELP = "Print the result as JSON."


def known_family(context: click.Context | None, option: click.Parameter | None, family: str) -> str:
    """The id of a family as it was given, or "" for any; the callback of an option.

    Raises:
        click.BadParameter: there is no such family. A misspelt name must not look like an empty result.
    """
    del context, option
    if family and family not in load_families():
        raise click.BadParameter(f"{family!r:.50} is not a family. Known: {', '.join(sorted(load_families()))}.")
    return family
