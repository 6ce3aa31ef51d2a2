"""`easel remote versions`: the trainings of a style."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.cli.style_options import style_options

if TYPE_CHECKING:
    from trainer_core.remote.styles import Version


@click.command("versions")
@click.argument("style")
@click.option(
    "--minutes", type=click.IntRange(1, 7 * 24 * 60), default=60, show_default=True, help="How long a link is valid."
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
@style_options
def command(style: str, minutes: int, where: str, env_file: Path | None, as_json: bool) -> None:
    """Show the trainings of STYLE, with a link to each LoRA.

    Everybody who has a link can download the LoRA while it is valid. What is stored is the address of the LoRA, not the link.
    """
    from trainer_core.errors import RemoteError, wrong_use
    from trainer_core.remote import credentials, style_links, style_places

    values = credentials.settings(env_file)
    place = style_places.opened(where, values)
    versions = place.styles.versions(style)
    if not versions and place.styles.folder(style) is None:
        message = f"There is no style {style} in {place.address}."
        raise wrong_use(RemoteError(message, "easel remote styles lists them.", "missing"))
    links = [style_links.link_of(one, values, minutes * 60) for one in versions]
    if as_json:
        rows = [
            {**one.as_dict(), "link": found.link, "linkProblem": found.problem}
            for one, found in zip(versions, links, strict=True)
        ]
        show.as_json({"style": style, "at": place.address, "versions": rows}, with_links=True)
        return
    if not versions:
        show.line(f"The style {style} was not trained yet.")
        return
    show.table(("version", "started", "status", "images", "parameters"), [_row(one) for one in versions])
    for one, found in zip(versions, links, strict=True):
        if one.lora_url:
            show.line(f"{one.name}: {one.lora_url}", "bold")
            # As it is: what the command line prints elsewhere has no signatures.
            click.echo(found.link) if found.link else show.line(f"  {found.problem}")


def _row(one: Version) -> tuple[object, ...]:
    set_id = "" if one.selection_set_id is None else f" (set {one.selection_set_id})"
    images = "" if one.image_count is None else f"{one.image_count}{set_id}"
    parameters = ", ".join(f"{name} {value}" for name, value in one.parameters.items())
    return one.name, one.timestamp, one.status, images, parameters
