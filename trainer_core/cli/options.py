"""What the options of several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
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


def bundle_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of the commands that explain a failed job."""
    function = click.option("--json", "as_json", is_flag=True, help=JSON_HELP)(function)
    function = click.option("--with-captions", is_flag=True, help="Keep captions and prompts in the bundle.")(function)
    return click.option(
        "--bundle",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE.zip",
        help="Write the log, the plan and the versions into a new zip file, without tokens, names and captions.",
    )(function)


def check_bundle(bundle: Path | None, with_captions: bool) -> None:
    """Checks that the options fit together.

    Raises:
        click.UsageError: captions are wanted in no bundle.
    """
    if with_captions and bundle is None:
        raise click.UsageError("--with-captions is for --bundle.")


class Whole(click.ParamType):
    """A whole number from `least` on."""

    name = "number"

    def __init__(self, least: int = 1) -> None:
        self.least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number.

        Raises:
            click.BadParameter: it is not one, or is too small.
        """
        try:
            found = int(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r:.50} is not a whole number.", param, ctx)
        if found < self.least:
            self.fail(f"{found} is too small: the smallest number is {self.least}.", param, ctx)
        return found


class Seconds(click.ParamType):
    """Seconds within bounds."""

    name = "seconds"

    def __init__(self, least: float, most: float) -> None:
        self.least, self.most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds as a number.

        Raises:
            click.BadParameter: it is not one, or out of bounds.
        """
        try:
            found = float(value)
        except (TypeError, ValueError):
            found = math.nan
        if not math.isfinite(found):
            self.fail(f"{value!r:.50} is not a number of seconds.", param, ctx)
        if not self.least <= found <= self.most:
            self.fail(f"{value} is not possible: from {self.least:g} to {self.most:g} seconds are.", param, ctx)
        return found
