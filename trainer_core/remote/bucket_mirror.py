"""Copies what a run has made to a bucket, also while it runs. What is copied is decided by `training.mirror.files`.

mirror-bucket.json of the run folder has the folder of the bucket that was chosen, and the files that are there. An object that the run
has not written is never replaced, and nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainer_core.errors import JobError, RemoteError
from trainer_core.jobs.alone import alone
from trainer_core.models.downloads.progress import Progress
from trainer_core.remote.storage import Bucket, items, upload
from trainer_core.text import printable
from trainer_core.training.folder import MIRROR_LOG, RunFolder
from trainer_core.training.mirror import BYTES_A_SECOND, RECORDS, Pace, files

RECORD = "mirror-bucket.json"


@dataclass(frozen=True)
class Pass:
    """What a pass did: the address of the folder, the files that it sent, and how many were there already."""

    folder: str
    copied: tuple[str, ...]
    there: int

    def as_dict(self) -> dict[str, Any]:
        """It as JSON data."""
        return {"folder": self.folder, "copied": list(self.copied), "there": self.there}


def mirror(run: RunFolder, bucket: Bucket, prefix: str, bytes_a_second: float = BYTES_A_SECOND) -> Pass:
    """Sends what a run has made and is not yet in the folder `prefix` of a bucket; each object has the SHA-256 of its file.

    Raises:
        RemoteError: the storage cannot be reached, or refuses something. The next pass goes on where this one was.
        RunError: a file of the run cannot be read.
    """
    slow = replace(bucket, work=replace(bucket.work, tell=_Slow(bytes_a_second)))
    (run.path / MIRROR_LOG).touch()
    with alone(run.path / MIRROR_LOG):
        known = _read(run)
        base = _folder(run, slow, prefix, known)
        copied: list[str] = []
        there = 0
        for name in dict.fromkeys(files(run)):
            try:
                about = (run.path / name).stat()
            except FileNotFoundError:
                # An engine that keeps only the newest checkpoints has deleted it.
                continue
            row = {"size": about.st_size, "mtime_ns": about.st_mtime_ns}
            if known["files"].get(name) == row:
                there += 1
                continue
            try:
                # The run's own folder: what is replaced there is an older state of the same file.
                upload(slow, run.path / name, f"{base}{name}", replaces=name in RECORDS or name in known["files"])
            except OSError as error:
                raise RemoteError(f"{printable(name, 200)}: {error.strerror or error}.", "Try it again.") from error
            known["files"][name] = row
            # After each file: a pass that is ended has lost nothing.
            run.write(RECORD, known)
            copied.append(name)
    return Pass(bucket.uri(base), tuple(copied), there)


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
    """The record, in the form that it must have."""
    try:
        found: Mapping[str, Any] = run.read(RECORD) or {}
    except JobError:
        found = {}
    rows = found.get("files")
    return {"at": str(found.get("at") or ""), "files": dict(rows) if isinstance(rows, dict) else {}}


def _folder(run: RunFolder, bucket: Bucket, prefix: str, known: dict[str, Any]) -> str:
    """The folder of this run below `prefix`, with "/" at its end: that of an earlier pass, or one with nothing in it."""
    number = 1
    while True:
        name = run.path.name if number == 1 else f"{run.path.name}-{number}"
        base = f"{prefix.rstrip('/')}/{name}/".lstrip("/")
        if known["at"] == bucket.uri(base):
            return base
        if next(items(bucket, base), None) is None:
            known |= {"at": bucket.uri(base), "files": {}}
            run.write(RECORD, known)
            return base
        number += 1
