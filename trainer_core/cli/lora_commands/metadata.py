"""`easel lora metadata`: shows and edits the metadata of a file."""

from __future__ import annotations

import click

from trainer_core.cli import making, show

SHOWN = 200


@click.command("metadata")
@click.argument("file")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set a key; can be repeated.")
@click.option("--remove", multiple=True, metavar="KEY", help="Remove a key; can be repeated.")
@click.option("--thumbnail", default="", metavar="IMAGE", help="Put a small copy of an image into the file.")
@click.option("--scrub", is_flag=True, help="Remove captions, folder names, prompts, comments, times and paths first.")
@click.option("--keep", multiple=True, metavar="KEY", help="A key or group that --scrub keeps; can be repeated.")
@click.option(
    "--out",
    type=making.NEW_FILE,
    default="",
    metavar="PATH",
    help="The new file.  [default: next to FILE, with -edited]",
)
@click.option("--in-place", is_flag=True, help="Put the new file in the place of FILE; --undo takes it back.")
@click.option("--undo", is_flag=True, help="Give FILE the metadata that it had before the last edit in place.")
@making.options
def command(
    file: str,
    *,
    assignments: tuple[str, ...],
    remove: tuple[str, ...],
    thumbnail: str,
    scrub: bool,
    keep: tuple[str, ...],
    out: str,
    in_place: bool,
    undo: bool,
    dry_run: bool,
    detach: bool,
    as_json: bool,
) -> None:
    """Show or edit the metadata of FILE.

    Without options it is shown. An edit writes a new file whose weights are the same, byte for byte.
    """
    from trainer_core.tools import lora_metadata as tool

    if undo and (assignments or remove or thumbnail or scrub or out):
        raise click.UsageError("--undo goes with no other edit.")
    if not (assignments or remove or thumbnail or scrub or undo):
        _show(file, as_json)
        return
    settings = tool.Settings(
        file=file,
        values=_values(assignments),
        remove=remove,
        thumbnail=thumbnail,
        scrub=scrub,
        keep=keep,
        target=out,
        in_place=in_place,
        undo=tool.undo_of(file) if undo else "",
    )
    edit = tool.preview(settings)
    if not as_json:
        rows = ((each.key, each.action, each.before, each.after, each.reason) for each in edit.changes)
        show.table(("key", "", "before", "after", "because"), rows)
    if dry_run:
        making.show_outlook(tool.outlook(settings), as_json)
        return
    if not as_json:
        for note in tool.outlook(settings).notes:
            show.line(note)
    making.finish(tool.start(settings), detach, as_json)


def _values(assignments: tuple[str, ...]) -> dict[str, str]:
    values = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--set {text!r:.60}: write KEY=VALUE.")
        values[key] = value
    return values


def _show(file: str, as_json: bool) -> None:
    from trainer_core.models import header
    from trainer_core.tools import making as files

    found = header.read(files.source(file)).metadata
    if as_json:
        show.as_json(dict(found))
        return
    if not found:
        show.line("The file has no metadata.")
        return
    show.table(
        ("key", "value"), ((key, value[:SHOWN] + "…" * (len(value) > SHOWN)) for key, value in sorted(found.items()))
    )
