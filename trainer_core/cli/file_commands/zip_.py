"""`easel files zip`: files and folders as one zip."""

from __future__ import annotations

import sys

import click

from trainer_core.cli import show
from trainer_core.cli.options import JSON_HELP


@click.command("zip")
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "--to", "folder", default="outputs", show_default=True, help="The folder for the zip, or - for standard output."
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
def command(sources: tuple[str, ...], folder: str, as_json: bool) -> None:
    """Make one zip of SOURCES.

    With --to - nothing is written to the disk of this machine: ssh HOST easel files zip datasets/elena --to - > elena.zip
    """
    from trainer_core.cli.download import interrupted
    from trainer_core.keeping import bounds, zipping
    from trainer_core.keeping.carrying import Going

    what = zipping.plan([bounds.named(source) for source in sources])
    if folder == "-":
        for block in zipping.stream(what):
            sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
        return
    with interrupted() as cancel:
        made = zipping.write(what, bounds.named(folder), Going(cancel=cancel))
    if as_json:
        show.as_json({"file": made.text, "path": made.path, "files": len(what.files), "left_out": what.left_out})
        return
    show.line(made.path)
    if what.left_out:
        show.line(f"{what.left_out:,} links were left out.", "dim")
