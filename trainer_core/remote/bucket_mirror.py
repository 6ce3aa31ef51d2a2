"""Copies what a run has made to a bucket, also while it runs. What is copied is decided by `training.mirror_files`.

mirror-bucket.json of the run folder has the folders of buckets that were chosen, and the files that are in each. The object
`.easel-mirror.json` in such a folder names the run: a run folder may come from elsewhere, so its record alone decides nothing. An object
that the run has not written is never replaced, and nothing is deleted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from trainer_core.errors import RemoteError
from trainer_core.jobs.alone import alone
from trainer_core.jobs.folder import json_object, json_text
from trainer_core.models.downloads.progress import Progress
from trainer_core.remote.storage import Bucket, items, upload
from trainer_core.remote.storage.refusals import NOT_OFFERED, StorageError
from trainer_core.remote.storage.uploading import put_bytes
from trainer_core.text import printable
from trainer_core.training.folder import MIRROR_LOG, RunFolder
from trainer_core.training.mirror import BYTES_A_SECOND, Pace, Pass
from trainer_core.training.mirror_files import RECORDS, files
from trainer_core.training.mirror_notes import open_log
from trainer_core.training.mirror_place import MARKER, MOST_FOLDERS, read_record

RECORD = "mirror-bucket.json"
_LARGEST_BYTES = 1 << 16


def mirror(run: RunFolder, bucket: Bucket, prefix: str, bytes_a_second: float = BYTES_A_SECOND) -> Pass:
    """Sends what a run has made and is not yet in the folder `prefix` of a bucket; each object has the SHA-256 of its file.

    Raises:
        RemoteError: the storage cannot be reached, refuses something, or the folder is no longer this run's. The next pass goes on where this one was.
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
        for source, name in files(run):
            try:
                about = (run.path / source).stat()
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
                upload(slow, run.path / source, f"{base}{name}", replaces=name in RECORDS or name in rows)
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
    """The record, in the form that it must have; a new one if it came with a copy of another run folder."""
    found = read_record(run, RECORD)
    targets = {at: files for at, files in found["targets"].items() if isinstance(files, dict)}
    return {**found, "targets": targets}


def _folder(run: RunFolder, bucket: Bucket, prefix: str, known: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The folder of this run below `prefix`, with "/" at its end, and what is in it: that of an earlier pass, or one with nothing in it.

    Raises:
        RemoteError: the folder of an earlier pass has no marker any more, or that of another run; or all names are taken.
    """
    if not known["targets"]:
        # Before the first marker: if this is ended in between, the next pass knows its own.
        run.write(RECORD, known)
    targets, mark = known["targets"], {"id": known["id"], "run": known["run"]}
    for number in range(1, MOST_FOLDERS + 1):
        name = run.path.name if number == 1 else f"{run.path.name}-{number}"
        base = f"{prefix.rstrip('/')}/{name}/".lstrip("/")
        if bucket.uri(base) in targets:
            _check(bucket, base, mark)
            return base, targets[bucket.uri(base)]
        if _marker(bucket, base) == mark or (
            next(items(bucket, base), None) is None and _is_marked(bucket, base, mark)
        ):
            rows: dict[str, Any] = {}
            targets[bucket.uri(base)] = rows
            run.write(RECORD, known)
            return base, rows
    raise RemoteError(
        f"In {printable(bucket.uri(prefix), 300)} {MOST_FOLDERS} folders with the name of this run belong to others, and nothing was sent.",
        "Choose another place.",
        "taken",
    )


def _is_marked(bucket: Bucket, base: str, mark: Mapping[str, str]) -> bool:
    """Marks a folder as that of this run; False if another run has done that meanwhile."""
    _write(bucket, base, mark)
    return _marker(bucket, base) == mark


def _write(bucket: Bucket, base: str, mark: Mapping[str, str]) -> None:
    try:
        put_bytes(bucket, base + MARKER, json_text(mark).encode(), {"IfNoneMatch": "*"})
    except StorageError as error:
        if error.code in NOT_OFFERED:
            # The folder was empty a moment ago; what was written is read again.
            put_bytes(bucket, base + MARKER, json_text(mark).encode(), {})
        elif error.kind != "changed":
            raise


def _marker(bucket: Bucket, base: str) -> dict[str, Any] | None:
    """What the marker of a folder says; None if there is none, or if it is damaged."""
    try:
        return json_object(bucket.ask("get_object", base + MARKER)["Body"].read(_LARGEST_BYTES))
    except RemoteError as error:
        if error.kind != "missing":
            raise
        return None


def _check(bucket: Bucket, base: str, mark: Mapping[str, str]) -> None:
    found = _marker(bucket, base)
    if found == mark:
        return
    shown = printable(bucket.uri(base), 300)
    if found is None:
        raise RemoteError(
            f"{shown}, which this run has mirrored to before, no longer has the object {MARKER} that says so, and nothing was sent.",
            f"Choose another folder. If you deleted it, delete {RECORD} in the run folder too.",
            "changed",
        )
    raise RemoteError(
        f"{shown} is the mirror of another run, as {MARKER} in it says, and nothing was sent.",
        f"Choose another folder. Or delete {RECORD} in the run folder: this run then gets a folder of its own.",
        "taken",
    )
