"""Copies a file of a run from a machine, piece by piece; what has arrived is kept when the connection is cut."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer_core.errors import JobError
from trainer_core.jobs.folder import writing
from trainer_core.remote.runs.carrier import FileThere
from trainer_core.text import printable

Ask = Callable[[Mapping[str, Any]], tuple[dict[str, Any], bytes]]

_READ_BYTES = 1 << 20


def fetch(ask: Ask, id: str, name: str, there: FileThere, target: Path) -> None:  # noqa: A002 - the id of a run is called so
    """Copies the file `name` of the run to `target`, which appears when it is complete and checked.

    Raises:
        JobError: the file on the machine is another one by now, or what arrived is damaged; or it cannot be written here.
    """
    # Named after the content that is expected: a part of another content is never continued.
    mark = hashlib.sha256(f"{there.tag} {there.sha256}".encode()).hexdigest()[:16]
    prefix = f".{hashlib.sha256(target.name.encode()).hexdigest()[:16]}"
    part = target.with_name(f"{prefix}.{mark}.part")
    with writing(target.parent):
        for other in target.parent.glob(f"{prefix}.*.part"):
            if other != part:
                other.unlink(missing_ok=True)
        _fill(ask, {"do": "run file", "id": id, "name": name}, there, part)
        if there.sha256 and _hash(part) != there.sha256:
            part.unlink(missing_ok=True)
            raise _changed(name)
        part.replace(target)


def _fill(ask: Ask, about: Mapping[str, Any], there: FileThere, part: Path) -> None:
    handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    with os.fdopen(handle, "r+b") as file:
        offset = file.seek(0, os.SEEK_END)
        if offset > there.size:
            offset = file.truncate(0)
        file.seek(offset)
        while offset < there.size:
            answer, piece = ask({**about, "offset": offset})
            if answer.get("size") != there.size or not piece or len(piece) > there.size - offset:
                with contextlib.suppress(OSError):
                    part.unlink()
                raise _changed(str(about["name"]))
            file.write(piece)
            # What was received must be there when the connection is cut.
            file.flush()
            offset += len(piece)
        os.fsync(file.fileno())


def _hash(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while read := file.read(_READ_BYTES):
            found.update(read)
    return found.hexdigest()


def _changed(name: str) -> JobError:
    return JobError(f"{printable(name, 200)} was changed while it was fetched.", "It is fetched again.")
