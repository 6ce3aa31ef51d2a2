"""Keeps what was seen of image files, in Easel's cache. Everything in it can be made again."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from trainer_core import places
from trainer_core.curation.fingerprints import SIDE, Fingerprint
from trainer_core.curation.looks import Look
from trainer_core.datasets.images import ImageInfo

VERSION = 1
"""Another number forgets what was kept: the meaning of measures or fingerprints has changed."""
WAIT_S = 5.0
AT_ONCE = 400
"""So many paths are asked for in one query."""

Stamp = tuple[int, int]
"""The size of a file in bytes, and the time of its last change in nanoseconds."""


def stamp(path: str) -> Stamp | None:
    """What changes when a file is written; None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - many files
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def file() -> Path:
    """The database in Easel's present home folder."""
    return places.cache() / f"images-{VERSION}.sqlite"


def get(stamps: Mapping[str, Stamp]) -> dict[str, Look]:
    """What is kept of these files, by absolute path, if they were not changed since then."""
    found: dict[str, Look] = {}
    with _open() as database:
        if database is None:
            return {}
        paths = list(stamps)
        for start in range(0, len(paths), AT_ONCE):
            part = [os.fsencode(path) for path in paths[start : start + AT_ONCE]]
            rows = database.execute(f"select * from looks where path in ({','.join('?' * len(part))})", part)  # noqa: S608 - only question marks
            for path, size, changed, *rest in rows:
                name = os.fsdecode(path)
                if stamps[name] == (size, changed) and (look := _look(*rest)) is not None:
                    found[name] = look
    return found


def put(looks: Iterable[tuple[str, Stamp, Look]]) -> None:
    """Keeps what was seen of files, by absolute path. A cache that cannot be written makes the next time slower, and nothing else."""
    rows = [(os.fsencode(path), *seen, *_row(look)) for path, seen, look in looks]
    with _open() as database:
        if database is not None and rows:
            database.executemany("insert or replace into looks values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def forget(folder: str, present: Iterable[str]) -> None:
    """Forgets the files inside a folder other than those present."""
    start = os.fsencode(f"{folder.rstrip('/')}/")
    kept = {os.fsencode(path) for path in present}
    with _open() as database:
        if database is None:
            return
        # "0" is the sign after "/": all paths inside of the folder are between the two.
        rows = database.execute("select path from looks where path > ? and path < ?", (start, start[:-1] + b"0"))
        gone = [(path,) for (path,) in rows if path not in kept]
        database.executemany("delete from looks where path = ?", gone)


def _row(look: Look) -> tuple[object, ...]:
    info, print_ = look.info, look.fingerprint
    head = (info.width, info.height, info.orientation, json.dumps(info.defects), json.dumps(dict(look.scores)))
    return (*head, *((print_.hash, print_.mirrored, print_.small) if print_ is not None else (None, None, None)))


def _look(width: int, height: int, orientation: int, defects: str, scores: str, *prints: bytes | None) -> Look | None:
    """What a row says; None if it is damaged."""
    try:
        info = ImageInfo(width, height, orientation, tuple(json.loads(defects)))
        kept = {str(name): float(value) for name, value in json.loads(scores).items()}
    except (ValueError, TypeError, AttributeError):
        return None
    hash_, mirrored, small = prints
    if hash_ is None or mirrored is None or small is None:
        return Look(info, None, kept)
    if len(small) != SIDE * SIDE:
        return None
    return Look(info, Fingerprint(hash_, mirrored, small, width, height), kept)


@contextlib.contextmanager
def _open() -> Iterator[sqlite3.Connection | None]:
    """The database in a transaction; None if it cannot be used. One that is damaged is made anew."""
    path = file()
    try:
        database = _connected(path)
    except sqlite3.OperationalError:
        database = None
    except sqlite3.DatabaseError:
        database = _anew(path)
    except OSError:
        database = None
    if database is None:
        yield None
        return
    try:
        with contextlib.suppress(sqlite3.Error), database:
            yield database
    finally:
        database.close()


def _connected(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, timeout=WAIT_S)
    try:
        # After a crash of the machine the cache may be damaged; then it is made anew.
        database.execute("pragma synchronous = off")
        database.execute(
            "create table if not exists looks (path blob primary key, size integer, changed integer, width integer,"
            " height integer, orientation integer, defects text, scores text, hash blob, mirrored blob, small blob)"
            " without rowid"
        )
    except sqlite3.Error:
        database.close()
        raise
    return database


def _anew(path: Path) -> sqlite3.Connection | None:
    with contextlib.suppress(OSError, sqlite3.Error):
        path.unlink(missing_ok=True)
        return _connected(path)
    return None
