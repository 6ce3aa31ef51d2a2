"""One file from a trainer: continued where it was cut, checked, and given its name when it is complete."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer_core.errors import JobError
from trainer_core.events import whole
from trainer_core.jobs.folder import unwritable
from trainer_core.models.downloads.progress import Meter, Progress
from trainer_core.remote.runs import hashes
from trainer_core.remote.runs.carrier import FileThere, NotNow

LARGEST_BYTES = 1 << 44
"""No result of a training has 16 TiB."""
_TAG = 200


class DamagedError(JobError):
    """A file that did not arrive as the trainer announced it; what arrived was removed."""


def file_there(row: Any) -> FileThere:
    """A file as a trainer describes it in JSON.

    Raises:
        JobError: the description has a wrong entry.
    """
    size, tag, digest = (row.get(name) for name in ("size", "tag", "sha256")) if isinstance(row, dict) else (None,) * 3
    is_digest = isinstance(digest, str) and (
        not digest or (len(digest) == 64 and not set(digest) - set("0123456789abcdef"))
    )
    number = whole(size)
    if (
        number is None
        or not 0 <= number <= LARGEST_BYTES
        or not isinstance(tag, str)
        or len(tag) > _TAG
        or not is_digest
    ):
        raise JobError("The trainer describes a file in a way that cannot be read.", "Update Easel on both machines.")
    return FileThere(number, tag, str(digest))


def fetch(
    there: FileThere,
    target: Path,
    pieces: Callable[[int, Callable[[bytes], None]], None],
    tell: Callable[[Progress], None] | None = None,
) -> None:
    """Writes a file from the trainer to `target`. `pieces` hands over its bytes from an offset on; `tell` hears how far it is.

    Raises:
        DamagedError: the content is not what the trainer announced.
        JobError: the disk takes no more; or an error of `pieces`. What has arrived is kept then.
    """
    part, meter = part_of(there, target), Meter(tell, there.size)
    try:
        with part.open("ab") as file:
            if file.tell() < there.size:

                def take(piece: bytes) -> None:
                    if file.tell() + len(piece) > there.size:
                        file.truncate(0)
                        raise DamagedError(f"{target.name} became larger than the trainer had said.")
                    file.write(piece)
                    meter.at(file.tell())

                meter.at(file.tell())
                pieces(file.tell(), take)
            arrived = file.tell()
        if arrived < there.size:
            raise NotNow(f"{target.name} did not arrive completely: {arrived} of {there.size} bytes.")
        if arrived > there.size or (there.sha256 and hashes.of_file(part) != there.sha256):
            part.unlink()
            raise DamagedError(f"{target.name} was damaged on its way from the trainer.", "It is fetched again.")
        part.replace(target)
    except OSError as error:
        raise unwritable(target.parent, error) from error


def part_of(there: FileThere, target: Path) -> Path:
    """Where the bytes of a file are that have arrived: another content has another place."""
    told = hashlib.sha256(f"{target.name}\0{there.tag}\0{there.size}".encode()).hexdigest()[:16]
    return target.with_name(f".easel-{told}.part")
