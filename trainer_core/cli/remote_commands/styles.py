"""`easel remote styles`: the styles with their selection sets."""

from __future__ import annotations

from pathlib import Path

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP
from trainer_core.cli.style_options import style_options


@click.command("styles")
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
@style_options
def command(where: str, env_file: Path | None, as_json: bool) -> None:
    """List the styles that can be trained, with their selection sets and the number of their trainings."""
    from trainer_core.errors import RemoteError
    from trainer_core.remote import credentials, style_places

    place = style_places.opened(where, credentials.settings(env_file))
    rows = []
    for style_id, title in place.styles.all():
        row = {"id": style_id, "title": title, "sets": [], "versions": 0, "problem": ""}
        try:
            sets, versions = place.styles.sets(style_id), place.styles.versions(style_id)
        except RemoteError as error:
            row["problem"] = str(error)
        else:
            row["sets"] = [{"id": one.id, "name": one.name, "images": len(one.images)} for one in sets]
            row["versions"] = len(versions)
        rows.append(row)
    if as_json:
        show.as_json({"at": place.address, "styles": rows})
        return
    if not rows:
        show.line(f"There is no style in {place.address}.")
        return
    shown = []
    for row in rows:
        sets = ", ".join(f"{one['name']} ({one['id']}): {one['images']}" for one in row["sets"])
        shown.append((row["id"], row["title"], row["problem"] or sets or "no selection set", row["versions"]))
    show.line(f"Styles in {place.address}", "bold")
    show.table(("style", "title", "selection sets (id): images", "trainings"), shown)
