"""`easel models starter`: the base models to begin with, and how to get each."""

from __future__ import annotations

import click

from trainer_core.cli import show
from trainer_core.cli.options import known_family
from trainer_core.models import starters


@click.command()
@click.argument("name", default="")
@click.option("--family", default="", callback=known_family, help="Only models of this family.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, one object per model.")
def starter(name: str, family: str, as_json: bool) -> None:
    """List base models to begin with.

    With NAME, show one: its licence, where it is saved, what to do if it is gated, and the command that downloads it.
    """
    found = [starters.get(name)] if name else [one for one in starters.shipped().values() if family in ("", one.family)]
    if as_json:
        show.as_json([one.as_dict() for one in found])
        return
    if name:
        _show(found[0])
        return
    rows = [("id", "for", "GB", "licence", "model"), *(_cells(one) for one in found)]
    show.aligned(rows)
    show.line("Show one: easel models starter ID", "dim")


def _cells(one: starters.Starter) -> tuple[str, ...]:
    size = f"{one.size_bytes / 1e9:.1f}" if one.size_bytes else "?"
    licence = f"{one.licence}, gated" if one.gated else one.licence
    return one.id, one.use, size, licence, one.title


def _show(one: starters.Starter) -> None:
    show.line(one.title, "bold")
    show.line(f"  {one.use}. {one.about}")
    show.line(f"  Licence: {one.licence_title}, {one.licence_url}")
    show.line(f"  Page: {one.page}")
    size = f"{one.size_bytes / 1e9:.2f} GB" if one.size_bytes else "not known"
    sentence, enough = starters.room(one)
    show.line(f"  Size: {size}. {sentence}", "" if enough else "yellow")
    if one.gated:
        show.line(f"  {one.how_to_get_access}", "yellow")
    ask = " --ask-token huggingface" if one.gated else ""
    show.line(f"  easel models download {one.address}{ask}")
