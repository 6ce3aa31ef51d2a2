"""`easel remote s3 upload`: files and folders to a bucket."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer_core.cli import show
from trainer_core.cli.bucket_options import address_of, bucket_options, opened, values_of

if TYPE_CHECKING:
    from trainer_core.remote.addresses import Address
    from trainer_core.remote.storage.folders import Sent


@click.command("upload")
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--to", "address", required=True, metavar="ADDRESS", help="The folder, or the full address of a single file."
)
@click.option("--replace", is_flag=True, help="Replace objects that have another content.")
@bucket_options
def command(
    sources: tuple[Path, ...], address: str, replace: bool, env_file: Path | None, ask_key: bool, as_json: bool
) -> None:
    """Upload files, and what is in folders.

    What is there already is not sent again, and another object is not replaced without --replace. Each object gets the SHA-256
    of its file, so that a download can be checked. Ctrl+C stops the upload; the same command goes on. Of folders, links and hidden
    files are left out.
    """
    from trainer_core.remote.storage.folders import planned, upload_all
    from trainer_core.text import amount, size

    values = values_of(env_file, ask_key=ask_key)
    where = address_of(address, values)
    files, left = _files(sources, where)
    with opened(where, values) as bucket:
        plan = planned(bucket, files, where.key if where.is_folder else files[0].key)
        upload_all(bucket, plan, replaces=replace)
    rows = [(bucket.uri(file.key), state) for state in ("new", "changed", "unchanged") for file in getattr(plan, state)]
    if as_json:
        done = {"new": "uploaded", "changed": "replaced", "unchanged": "unchanged"}
        show.as_json({"objects": [{"uri": uri, "state": done[state]} for uri, state in rows], "left_out": left})
        return
    sent = len(plan.new) + len(plan.changed)
    show.line(f"{amount(sent, 'file')} uploaded ({size(plan.size_bytes)}), {len(plan.unchanged):,} unchanged.")
    for uri, _ in rows[:5]:
        show.line(f"  {uri}", "dim")
    for name in left:
        show.notice(f"{name} is left out: it is a link or hidden.")


def _files(sources: Sequence[Path], where: Address) -> tuple[list[Sent], list[str]]:
    """The files with their keys, and the paths that are left out."""
    from trainer_core.errors import RemoteError, wrong_use
    from trainer_core.remote.storage.folders import Sent, below

    if not where.is_folder:
        if len(sources) > 1 or sources[0].is_dir():
            message = f"{where.uri} is the address of one object, and there are several files."
            raise wrong_use(RemoteError(message, 'End it with "/" for a folder.'))
        return [Sent(sources[0], where.key)], []
    named: list[tuple[Path, str]] = []
    left: list[str] = []
    for source in sources:
        if not source.is_dir():
            named.append((source, source.name))
            continue
        for path in sorted(source.rglob("*")):
            name = path.relative_to(source)
            if path.is_dir() and not path.is_symlink():
                continue
            if path.is_symlink() or not path.is_file() or any(part.startswith(".") for part in name.parts):
                left.append(str(path))
            else:
                named.append((path, name.as_posix()))
    if not named:
        raise RemoteError("There is no file to upload.", "Links and hidden files are left out.", "content")
    keys = below(where.key, [name for _, name in named])
    return [Sent(path, key) for (path, _), key in zip(named, keys, strict=True)], left
