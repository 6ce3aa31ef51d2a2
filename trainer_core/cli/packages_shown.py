"""`easel backends packages`: the packages of all environments with their licences."""

from __future__ import annotations

import json
from pathlib import Path

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.errors import EaselError
from trainer_core.files import write_whole


@click.command("packages")
@click.option(
    "--sbom", "target", type=click.Path(path_type=Path), help="Write them to this new file, as CycloneDX 1.6."
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def packages(target: Path | None, as_json: bool) -> None:
    """List the packages of Easel and its engines.

    Each with its version and the licence that its own metadata state.
    """
    from trainer_core.install import packages as listed

    found = listed.found()
    if target is not None:
        if target.is_symlink() or target.exists():
            raise EaselError(f"{target} is there already.", "Choose the name of a new file.")
        try:
            write_whole(target, json.dumps(listed.bill(found), indent=1) + "\n")
        except OSError as error:
            raise EaselError(
                f"{target} cannot be written: {error.strerror or error}.", "Choose another file."
            ) from error
    if as_json:
        show.as_json([each.as_dict() for each in found])
    elif target is not None:
        show.line(f"{len(found)} packages were written to {target}.")
    else:
        rows = ((each.environment, each.name, each.version, each.licence or "not stated") for each in found)
        show.table(("environment", "package", "version", "licence"), rows)
