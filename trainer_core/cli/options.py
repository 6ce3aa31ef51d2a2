"""What the options of several commands share."""

from __future__ import annotations

import math
from typing import Any

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


class Seconds(click.FloatRange):
    """Seconds within bounds; click itself takes "nan" for a number that is within any."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The seconds as a number.

        Raises:
            click.BadParameter: it is not one, or out of bounds.
        """
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is not a number of seconds.", param, ctx)
        return found
