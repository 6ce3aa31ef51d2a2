"""Copies what a run has made to a bucket, also while it runs. What is copied is decided by `training.mirror.files`.

mirror-bucket.json of the run folder has the folders of buckets that were chosen, and the files that are in each. An object that the run
has not written is never replaced, and nothing is deleted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainer_core.errors import RemoteError
from trainer_core.jobs.alone import alone
from trainer_core.models.downloads.progress import Progress
from trainer_core.remote.storage import Bucket, items, upload
from trainer_core.text import printable
from trainer_core.training.folder import MIRROR_LOG, RunFolder
from trainer_core.training.mirror import BYTES_A_SECOND, RECORDS, Pace, files
from trainer_core.training.mirror_notes import open_log

RECORD = "mirror-bucket.json"


@dataclass(frozen=True)
class Pass:
    """What a pass did: the address of the folder, the files that it sent, how many were there already, and sentences about those it left out."""

    folder: str
    copied: tuple[str, ...]
    there: int
    left: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """It as JSON data."""
        return {"folder": self.folder, "copied": list(self.copied), "there": self.there, "left_out": list(self.left)}


def mirror(run: RunFolder, bucket: Bucket, prefix: str, bytes_a_second: float = BYTES_A_SECOND) -> Pass:
    """Sends what a run has made and is not yet in the folder `prefix` of a bucket; each object has the SHA-256 of its file.

    Raises:
        RemoteError: the storage cannot be reached, or refuses something. The next pass goes on where this one was.
        RunError: a file of the run cannot be read.
    """
    slow = replace(bucket, work=replace(bucket.work, tell=_Slow(bytes_a_second)))
    with contextlib.suppress(OSError):
        open_log(run).close()
    with alone(run.path / MIRROR_LOG):
        known = _read(run)
        base, rows = _folder(run, slow, prefix, known)
        copied: list[str] = []
        left: list[str] = []
        there = 0
        for name in dict.fromkeys(files(run)):
            try:
                about = (run.path / name).stat()
            except FileNotFoundError:
                # An engine that keeps only the newest checkpoints has deleted it.
                continue
            if any("\ud800" <= letter <= "\udfff" for letter in name):
                left.append(f"{printable(name, 200)}: its name is not UTF-8, which the name of an object must be.")
                continue
            row = {"size": about.st_size, "mtime_ns": about.st_mtime_ns}
            if rows.get(name) == row:
                there += 1
                continue
            try:
                # The run's own folder: what is replaced there is an older state of the same file.
                upload(slow, run.path / name, f"{base}{name}", replaces=name in RECORDS or name in rows)
            except RemoteError as error:
                if error.kind not in {"taken", "address"}:
                    raise
                left.append(f"{printable(name, 200)}: {error}")
                continue
            except OSError as error:
                raise RemoteError(f"{printable(name, 200)}: {error.strerror or error}.", "Try it again.") from error
            rows[name] = row
            # After each file: a pass that is ended has lost nothing.
            run.write(RECORD, known)
            copied.append(name)
    return Pass(bucket.uri(base), tuple(copied), there, tuple(left))


class _Slow:
    """Waits while a transfer is told about, so that no more than so many bytes a second are sent."""

    def __init__(self, bytes_a_second: float) -> None:
        self._pace, self._rate, self._done = Pace(bytes_a_second), bytes_a_second, 0

    def __call__(self, progress: Progress) -> None:
        """Counts what came since the last call."""
        if progress.done_bytes < self._done:
            self._pace, self._done = Pace(self._rate), 0
        self._pace.add(progress.done_bytes - self._done)
        self._done = progress.done_bytes


def _read(run: RunFolder) -> dict[str, Any]:
    """The record, in the form that it must have; an empty one if it came with a copy of another run folder."""
    own: dict[str, Any] = {"run": os.path.realpath(run.path), "targets": {}}
    found: Mapping[str, Any] = run.read(RECORD) or {}
    rows = found.get("targets")
    if found.get("run") == own["run"] and isinstance(rows, dict):
        own["targets"] = {at: files for at, files in rows.items() if isinstance(files, dict)}
    return own


def _folder(run: RunFolder, bucket: Bucket, prefix: str, known: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The folder of this run below `prefix`, with "/" at its end, and what is in it: that of an earlier pass, or one with nothing in it."""
    number = 1
    while True:
        name = run.path.name if number == 1 else f"{run.path.name}-{number}"
        base = f"{prefix.rstrip('/')}/{name}/".lstrip("/")
        targets = known["targets"]
        if bucket.uri(base) in targets:
            return base, targets[bucket.uri(base)]
        if next(items(bucket, base), None) is None:
            rows: dict[str, Any] = {}
            targets[bucket.uri(base)] = rows
            run.write(RECORD, known)
            return base, rows
        number += 1
