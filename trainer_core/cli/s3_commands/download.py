"""`easel remote s3 download`: an object, or a folder of a bucket, to this machine."""

from __future__ import annotations

from pathlib import Path

import click

from trainer_core.cli import show
from trainer_core.cli.bucket_options import address_of, bucket_options, opened, values_of


@click.command("download")
@click.argument("address")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    default=Path(),
    help="The folder, or for one object a new file. Default: the working folder.",
)
@click.option("--replace", is_flag=True, help="Replace files that have another content.")
@bucket_options
def command(address: str, target: Path, replace: bool, env_file: Path | None, ask_key: bool, as_json: bool) -> None:
    """Download an object or a folder.

    If ADDRESS ends in "/", everything in that folder is downloaded. A file gets its name when it is complete and checked. Ctrl+C stops the download; the same command goes on where it stopped.
    """
    from trainer_core.remote.storage.downloading import download
    from trainer_core.remote.storage.folders import download_all, local_names
    from trainer_core.text import amount, size

    values = values_of(env_file, ask_key=ask_key)
    where = address_of(address, values)
    with opened(where, values) as bucket:
        if where.is_folder:
            done = download_all(bucket, where.key, target, replaces=replace)
        else:
            name = local_names([where.key.rpartition("/")[2]], "")[0]
            done = [download(bucket, where.key, target / name if target.is_dir() else target, replaces=replace)]
    if as_json:
        rows = [
            {
                "path": str(each.path),
                "size": each.size_bytes,
                "checked": each.proof.kind,
                "hash": each.proof.value,
                "was_there": each.was_there,
            }
            for each in done
        ]
        show.as_json({"files": rows})
        return
    for each in done[:5]:
        show.line(each.path)
        show.line(f"  {size(each.size_bytes)}, {'it was there already' if each.was_there else each.proof.words}", "dim")
    if len(done) > 5:
        show.line(f"{amount(len(done), 'file')} in all.")
    if unsure := sum(each.proof.kind == "size" for each in done):
        show.notice(f"The storage has no hash of {amount(unsure, 'object')}: only the size was checked.")
