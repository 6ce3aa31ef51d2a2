"""Copies what a run has made to another folder while it runs, such as one on Google Drive: a session there may end at any time.

`python -m trainer_core.training.mirror RUN FOLDER` makes one pass: it copies what is not there yet, and ends. A pass that was
ended goes on where it was. A copy counts only after it was read again and has the SHA-256 of the file; until then its name
ends with ".part". Nothing is deleted in the folder, and nothing there that the run has not written is replaced.

mirror.json of the run folder has the folder that was chosen, and each copy with its SHA-256.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trainer_core import events, places
from trainer_core.errors import EaselError, JobError, RunError
from trainer_core.events import Checkpoint, Sample
from trainer_core.files import open_own
from trainer_core.jobs.alone import alone
from trainer_core.jobs.folder import RESULT
from trainer_core.text import printable
from trainer_core.training.folder import MIRROR_LOG, RunFolder

RECORD = "mirror.json"
RECORDS = (
    "plan.toml", "spec.json", "versions.json", "hardware.json", "states.json", "labels.json", "choice.json", "events.jsonl",
    "engine.log", "result.json",
)  # fmt: skip
"""The files that say what the run was; they are small, and copied again when they have changed."""
BYTES_A_SECOND = 50 << 20
"""How fast it copies at most: the training reads and writes the same disk."""
_BLOCK = 1 << 20
_NICE = 10


@dataclass(frozen=True)
class Pass:
    """What a pass did: the folder, the files that it copied, and how many were there already."""

    folder: Path
    copied: tuple[str, ...]
    there: int

    def as_dict(self) -> dict[str, Any]:
        """It as JSON data."""
        return {"folder": str(self.folder), "copied": list(self.copied), "there": self.there}


def mirror(run: RunFolder, folder: str, bytes_a_second: float = BYTES_A_SECOND) -> Pass:
    """Copies what a run has made and is not yet in the folder; waits while another process does the same.

    Raises:
        RunError: the folder is not there, a file cannot be read or written, or a copy is not the same as its file.
    """
    # Not the lock of the folder, for which a delivery would have to wait as long.
    with contextlib.suppress(OSError):
        (run.path / MIRROR_LOG).touch()
    with alone(run.path / MIRROR_LOG):
        known = _read(run)
        try:
            target = _target(run, Path(places.typed(folder)).absolute(), known)
            return _pass(run, target, known, bytes_a_second)
        except OSError as error:
            where = printable(str(error.filename or folder), 300)
            raise RunError(f"{where}: {error.strerror or error}.", "What was copied before stays.") from error


def copies(run: RunFolder) -> dict[str, str]:
    """The SHA-256 of each file that was copied, by its path in the run folder."""
    return {name: str(row.get("sha256")) for name, row in _read(run)["files"].items()}


def files(run: RunFolder) -> Iterator[str]:
    """The paths of what is copied, in the run folder: checkpoints, samples, the finished result and last the records.

    No saved states, and no finished copies of checkpoints: they would need the space twice.
    """
    with contextlib.suppress(OSError), open_own(run.events) as file:
        for line in events.read_lines(file.read()):
            if isinstance(event := events.from_dict(line), Checkpoint | Sample):
                yield from _whole(run, event.path)
    if _is_own(run, RESULT):
        yield from _result(run)
    # Last: where result.json is, everything is.
    yield from (name for name in RECORDS if _is_own(run, name))


def _result(run: RunFolder) -> Iterator[str]:
    """The result of a run that has ended: its finished copy, or the engine's own, as of a whole model."""
    # Loads much that only a run with a mirror needs.
    from trainer_core.training.artefacts import final_file
    from trainer_core.training.finishing import FOLDER

    # Their names begin with the step.
    if finished := sorted(_whole(run, FOLDER))[-1:]:
        yield from finished
        return
    with contextlib.suppress(EaselError, OSError):
        final = final_file(run.output, run.rendered.artefacts)
        yield from _whole(run, final.relative_to(run.path).as_posix()) if final is not None else ()


def _whole(run: RunFolder, name: str) -> Iterator[str]:
    """A file, or the files of a folder. A run folder is untrusted: what lies outside of it, or is a link, is left out."""
    path = run.path / name
    if path.is_dir() and not path.is_symlink():
        for place, _, names in os.walk(path):
            inner = (Path(place, each).relative_to(run.path).as_posix() for each in sorted(names))
            yield from (each for each in inner if _is_own(run, each))
    elif _is_own(run, name):
        yield name


def _is_own(run: RunFolder, name: str) -> bool:
    path = run.path / name
    try:
        inside = path.resolve().is_relative_to(run.path.resolve())
        return inside and ".." not in Path(name).parts and path.is_file() and not path.is_symlink()
    except OSError:
        return False


def _read(run: RunFolder) -> dict[str, Any]:
    """mirror.json, in the form that it must have."""
    try:
        found = run.read(RECORD) or {}
    except JobError:
        found = {}
    rows = found.get("files")
    good = rows.items() if isinstance(rows, dict) else ()
    return {
        "folder": str(found.get("folder") or ""),
        "files": {name: row for name, row in good if isinstance(row, dict)},
    }


def _target(run: RunFolder, base: Path, known: dict[str, Any]) -> Path:
    """The folder of this run in the named folder: that of an earlier pass, or a new one."""
    if not base.is_dir() and not base.parent.is_dir():
        # Google Drive that is not mounted: a folder made there would be on the disk that is lost.
        raise RunError(
            f"There is no folder {printable(str(base.parent), 300)}.", "Mount the disk, or choose another folder."
        )
    if base.resolve().is_relative_to(run.path.resolve()):
        raise RunError(f"{printable(str(base), 300)} is inside the run folder.", "Choose another folder.")
    base.mkdir(exist_ok=True)
    before = Path(known["folder"])
    if known["folder"] and before.parent == base and before.is_dir():
        return before
    known["files"] = {}
    number = 1
    while True:
        target = base / (run.path.name if number == 1 else f"{run.path.name}-{number}")
        try:
            target.mkdir()
        except FileExistsError:
            number += 1
            continue
        known["folder"] = str(target)
        run.write(RECORD, known)
        return target


def _pass(run: RunFolder, target: Path, known: dict[str, Any], bytes_a_second: float) -> Pass:
    pace = Pace(bytes_a_second)
    copied: list[str] = []
    there = 0
    for name in dict.fromkeys(files(run)):
        if not _is_own(run, name):
            # An engine that keeps only the newest checkpoints has deleted it.
            continue
        about = (run.path / name).stat()
        row = {"size": about.st_size, "mtime_ns": about.st_mtime_ns}
        old = known["files"].get(name, {})
        if all(old.get(key) == value for key, value in row.items()) and (target / name).is_file():
            there += 1
            continue
        if (digest := _copied(run.path / name, target / name, pace)) is None:
            continue
        known["files"][name] = {**row, "sha256": digest}
        # After each file: a pass that is ended has lost nothing.
        run.write(RECORD, known)
        copied.append(name)
    return Pass(target, tuple(copied), there)


class Pace:
    """Waits, so that no more than so many bytes a second are copied."""

    def __init__(self, bytes_a_second: float, sleep: Callable[[float], None] = time.sleep) -> None:
        self._rate, self._sleep = bytes_a_second, sleep
        self._began, self._done = time.monotonic(), 0

    def add(self, count: int) -> None:
        """Counts bytes, and waits until they may have been copied."""
        self._done += count
        early = self._done / self._rate - (time.monotonic() - self._began)
        if early > 0:
            self._sleep(early)


def _copied(source: Path, target: Path, pace: Pace) -> str | None:
    """The SHA-256 of a copy that was read again; None if the file is still being written: a later pass copies it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    with open_own(source) as old, part.open("ab+") as new:
        size = os.fstat(old.fileno()).st_size
        digest = _goes_on(old, new, size)
        while old.tell() < size and (block := old.read(min(_BLOCK, size - old.tell()))):
            digest.update(block)
            new.write(block)
            pace.add(len(block))
        new.flush()
        os.fsync(new.fileno())
        if os.fstat(old.fileno()).st_size != size and source.name not in RECORDS:
            return None
    with part.open("rb") as new:
        proved = hashlib.file_digest(new, "sha256").hexdigest()
    if proved != digest.hexdigest():
        part.unlink()
        raise RunError(
            f"The copy of {printable(source.name, 200)} is not the same as the file.", "The disk may be damaged."
        )
    part.replace(target)
    return proved


def _goes_on(old: IO[bytes], new: IO[bytes], size: int) -> Any:
    """The digest of what is copied already, with both files at its end; of nothing if the copy is not the file's beginning."""
    digest = hashlib.sha256()
    done = new.seek(0, os.SEEK_END)
    new.seek(0)
    is_same = done <= size
    while is_same and (block := new.read(_BLOCK)):
        is_same = old.read(len(block)) == block
        digest.update(block)
    if is_same:
        return digest
    old.seek(0)
    new.truncate(0)
    return hashlib.sha256()


def main(arguments: list[str]) -> int:
    """Makes one pass; returns the exit status, with a sentence as the last line if it is 1."""
    run, folder = arguments
    os.nice(_NICE)
    try:
        done = mirror(RunFolder.open(Path(run)), folder)
    except EaselError as error:
        print(error, flush=True)
        return 1
    print(f"Mirrored: {len(done.copied)} files copied to {done.folder}, {done.there} were there.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
