"""A job as a folder: the files that every kind of job has, and how each is written.

    spec.json        what the job does; written last, so a folder with this file is complete
    versions.json    schema version of this folder, the versions of Easel and Python
    engine.log       the unchanged output of its programs
    events.jsonl     its events, one JSON object on each line
    runner.json, wrapper.json, engine.json   the identity of three processes: the supervisor, the small process around the
                     program that runs now, and this program
    program-end.json how the last program ended
    heartbeat.json   the supervisor's sign of life, every two seconds
    runner.log       the output of the supervisor itself
    lock             locked by the supervisor
    stop             exists if a stop was requested
    reserve          exists while the job runs: disk space for its result in case the disk is full
    result.json      how the job ended; written atomically

None of them contains tokens or passwords: a program inherits those from the environment.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from trainer_core import __version__, places
from trainer_core.child import is_secret
from trainer_core.errors import JobError
from trainer_core.files import open_own, write_whole
from trainer_core.jobs.spec import Spec
from trainer_core.text import plain_letters

SCHEMA_VERSION = 2
"""Version 2: spec.json contains the kind and several steps. Folders of version 1 can still be read."""
RESERVE_BYTES = 64 << 10
"""The disk space that a job reserves for its result."""
LARGEST_FILE_BYTES = 64 << 20
"""A larger JSON file is not one of Easel's."""
SPEC, RESULT, STOP, SUPERVISOR, PROGRAM = "spec.json", "result.json", "stop", "runner.json", "engine.json"
WRAPPER, PROGRAM_END, HEARTBEAT, VERSIONS = "wrapper.json", "program-end.json", "heartbeat.json", "versions.json"
JUDGES = "judges"
"""In the record of a supervisor that found no program of the job running: the record of the program that had ended."""
_DURABLE = frozenset({SPEC, VERSIONS, RESULT, STOP, SUPERVISOR})
"""The files that decide what becomes of a job; they outlast a power failure."""
_ADVICE = {
    errno.ENOSPC: "The disk is full. Delete files, or set EASEL_HOME to a folder on a larger disk.",
    errno.EDQUOT: "Your share of the disk is used up. Delete files, or set EASEL_HOME to a folder on another disk.",
    errno.EROFS: "The file system can only be read. Set EASEL_HOME to a folder on another one.",
    errno.EACCES: "Its owner must permit it, or set EASEL_HOME to a folder of your own.",
}
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Surrogates that do not stand for a byte of a file name."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class DiskError(JobError):
    """The disk takes no more: it is full, the user's share is used up, or it can only be read. No fault of the job."""


@dataclass(frozen=True)
class JobFolder:
    """The paths of a job's files. Reads and writes those that more than one process needs."""

    path: Path

    @classmethod
    def create(cls, folder: Path, name: str) -> Self:
        """A new, empty job folder below `folder`, called `<date>-<time>-<name>`.

        Raises:
            JobError: it cannot be created.
        """
        base = f"{time.strftime('%Y%m%d-%H%M%S')}-{_plain_name(name)}"
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(1, 1000):
                path = places.real(folder) / (base if number == 1 else f"{base}-{number}")
                with contextlib.suppress(FileExistsError):
                    # It contains captions and paths of the user.
                    path.mkdir(mode=0o700)
                    return cls(path)
        raise JobError(f"There is no free name for a job in {folder}.", "Remove old jobs.")

    @classmethod
    def open(cls, path: Path) -> Self:
        """The job folder at `path`, also one with damaged files (see `damage_of`): its processes may still run.

        Raises:
            JobError: it is not a job folder, or a newer Easel created it.
        """
        folder = cls(places.real(Path(path)))
        if not is_job(folder.path):
            raise JobError(f"{path} is not a job folder.", f"A job folder contains a {SPEC}.")
        version = schema_of(folder)
        if version is not None and version > SCHEMA_VERSION:
            raise JobError(
                f"{path} was created by a newer Easel (schema {version}; this Easel supports {SCHEMA_VERSION}).",
                "Update Easel.",
            )
        return folder

    @property
    def log(self) -> Path:
        """The output of the job's programs."""
        return self.path / "engine.log"

    @property
    def supervisor_log(self) -> Path:
        """The supervisor's own output: empty if there was no error."""
        return self.path / "runner.log"

    @property
    def events(self) -> Path:
        """The events of the job, one JSON object on each line."""
        return self.path / "events.jsonl"

    @property
    def stop(self) -> Path:
        """The file that requests a stop."""
        return self.path / STOP

    @property
    def reserve(self) -> Path:
        """A file that reserves disk space for the result, in case the disk is full."""
        return self.path / "reserve"

    @property
    def result(self) -> dict[str, Any] | None:
        """How the job ended; None if it has not ended."""
        return self.read(RESULT)

    @property
    def versions(self) -> dict[str, Any]:
        """The schema version of this folder, the versions of Easel and Python, and entries that the kind adds."""
        return self.read(VERSIONS) or {}

    @property
    def spec(self) -> Spec:
        """What the job does.

        Raises:
            JobError: the file is damaged.
        """
        try:
            return Spec.from_dict(self.read(SPEC) or {})
        except (KeyError, TypeError, ValueError) as error:
            raise JobError(f"The {SPEC} in {self.path} is damaged: {error}.") from error

    def write_spec(self, spec: Spec, versions: Mapping[str, Any] | None = None) -> None:
        """Writes the files that the supervisor needs, `spec.json` last; adds `versions` to those of Easel and Python.

        Raises:
            JobError: a file cannot be written, or the environment of a step contains a secret.
        """
        given = (item for step in spec.steps for item in step.environment.items())
        if secrets := [name for name, value in given if is_secret(name, value)]:
            raise JobError(
                f"A job of kind {spec.kind} would write {', '.join(secrets)} into its folder.",
                "Remove them from its steps: programs inherit secrets from Easel's own environment.",
            )
        own = {
            "schema_version": SCHEMA_VERSION,
            "easel": __version__,
            "python": platform.python_version(),
            "created": round(time.time(), 3),
        }
        with writing(self.path):
            self.write(VERSIONS, {**own, **(versions or {})})
            self.write(SPEC, spec.as_dict())

    def read(self, name: str) -> dict[str, Any] | None:
        """The JSON object in a file of this folder; None if the file is missing or not (yet) readable."""
        try:
            with open_own(self.path / name) as file:
                return json_object(file.read(LARGEST_FILE_BYTES))
        except (OSError, ValueError):
            return None

    def write(self, name: str, data: Mapping[str, Any]) -> None:
        """Writes a JSON file of this folder atomically. A folder that was moved or deleted is not created again."""
        write_whole(self.path / name, json_text(data), durable=name in _DURABLE, creates=False)

    def remove(self) -> None:
        """Deletes the folder. Links in it are deleted, but not the files that they point to."""
        shutil.rmtree(self.path, ignore_errors=True)


def entries_of(where: Path) -> Iterator[Path]:
    """What is in a folder of jobs, without links to others of them: such a link is there while a renamed job runs."""
    with contextlib.suppress(OSError), os.scandir(where) as found:
        for each in found:
            path = Path(each.path)
            if not (each.is_symlink() and places.real(path).parent == places.real(where)):
                yield path


def schema_of(folder: JobFolder) -> int | None:
    """The schema version of a job folder; None if its versions.json is missing or damaged."""
    version = folder.versions.get("schema_version")
    return version if isinstance(version, int) and not isinstance(version, bool) else None


def damage_of(folder: JobFolder) -> str:
    """Which of the files that every job has are missing or damaged, as a sentence; "" if none is."""
    names = [] if schema_of(folder) is not None else [VERSIONS]
    names += [] if folder.read(SPEC) is not None else [SPEC]
    return f"Missing or damaged in this folder: {' and '.join(names)}." if names else ""


def is_job(path: Path) -> bool:
    """Whether a folder is that of a job: it says what the job does, or that a supervisor was started for it."""
    return places.is_there(path / SPEC) or places.is_there(path / SUPERVISOR)


def json_object(content: bytes) -> dict[str, Any] | None:
    """The JSON object in the content of a file; None for anything else."""
    try:
        data = json.loads(content.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def json_text(data: Mapping[str, Any]) -> str:
    """The JSON object as the text of a job's file."""
    text = json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n"
    # Half of a character, as a file of somebody else may contain it, has no bytes in UTF-8; JSON can name it.
    return _HALF.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Converts an OSError from its block into a JobError."""
    try:
        yield
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(folder: Path, error: OSError) -> JobError:
    """The sentence for a job folder that cannot be written."""
    advice = _ADVICE.get(error.errno or 0, "Check the free disk space and the permissions.")
    kind = DiskError if error.errno in _FULL else JobError
    return kind(f"The job folder in {folder} cannot be written: {error.strerror or error}.", advice)


def _plain_name(name: str) -> str:
    """The name for use in a folder's name: only plain letters, digits, dot, dash and underscore."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", plain_letters(name)).strip("._-")[:60] or "job"
