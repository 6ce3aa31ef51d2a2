"""What the commands about styles share: where the styles are, and where keys are from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def style_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say where the styles are, and where keys are from."""
    function = click.option(
        "--env-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Read keys and settings from this file. Default: .env in the working folder.",
    )(function)
    return click.option(
        "--at",
        "where",
        default="",
        metavar="PLACE",
        help="The folder, or the address such as s3://bucket/app/, that has resources/style_images. Default: the working "
        "folder if it has it, else S3_USER_BUCKET.",
    )(function)
