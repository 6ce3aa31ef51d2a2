"""The list of waiting runs: one JSON file, and the two locks of the queue.

    <home>/queue/queue.json   the runs in their order, each with its GPU; written atomically
    <home>/queue/lock         locked for the moment of a change
    <home>/queue/owner        locked by the owner, the process that starts the runs, as long as it lives
    <home>/queue/owner.log    what the owner did

Only this file decides what is started. A run folder, which may come from somebody else, cannot put itself into the queue; and
the digest of a run's `spec.json` is recorded, so that a run that was changed after it was queued is not started.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from trainer_core import places
from trainer_core.errors import JobError
from trainer_core.files import open_regular, write_whole
from trainer_core.jobs.folder import RESULT, SPEC

VERSION = 1
LARGEST_FILE_BYTES = 16 << 20
ALL = "all"
"""In the place of a GPU: every GPU."""
CONTINUE = "easel runs queue continue"
"""The command that ends a pause."""


class DamagedQueueError(JobError):
    """The list of waiting runs does not say what waits."""


class OtherVersionError(ValueError):
    """The list of waiting runs was written by an Easel with another format."""


@dataclass(frozen=True)
class Entry:
    """One waiting run: the name of its folder in the folder of runs, and the GPU it waits for.

    `spec` is the digest of its spec.json. `added` and `taken` are seconds since 1970; `taken` is 0 until the owner begins
    to start it. `environment` are the variables that it starts with (see `environment.kept`); empty in a queue of an older Easel.
    """

    run: str
    gpu: str
    spec: str
    added: float
    taken: float = 0.0
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The run folder."""
        return places.runs() / self.run


@dataclass(frozen=True)
class Queue:
    """The waiting runs in their order.

    `paused` are the GPUs on which nothing is started, or `ALL`; `stops_on_failure`: a failed run pauses the queue of its
    GPU, for the reason in `reasons`; `last` is the run that was last started, by GPU.
    """

    entries: tuple[Entry, ...] = ()
    paused: frozenset[str] = frozenset()
    stops_on_failure: bool = False
    reasons: Mapping[str, str] = field(default_factory=dict)
    last: Mapping[str, str] = field(default_factory=dict)

    def of(self, gpu: str) -> tuple[Entry, ...]:
        """The runs that wait for a GPU, in their order."""
        return tuple(entry for entry in self.entries if entry.gpu == gpu)

    def entry(self, run: str) -> Entry | None:
        """The entry of a run; None if it does not wait."""
        return next((entry for entry in self.entries if entry.run == run), None)

    def position(self, run: str) -> int:
        """The place of a run among those of its GPU, from 1; 0 if it does not wait."""
        entry = self.entry(run)
        return self.of(entry.gpu).index(entry) + 1 if entry else 0

    def is_paused(self, gpu: str) -> bool:
        """Whether nothing is started on a GPU."""
        return bool({ALL, gpu} & self.paused)

    @property
    def has_work(self) -> bool:
        """Whether a run waits for a GPU whose queue is not paused."""
        return any(not self.is_paused(entry.gpu) for entry in self.entries)

    def with_entries(self, entries: tuple[Entry, ...]) -> Self:
        """This queue with other entries."""
        return dataclasses.replace(self, entries=entries)

    def without(self, run: str) -> Self:
        """This queue without a run."""
        return self.with_entries(tuple(entry for entry in self.entries if entry.run != run))

    def as_dict(self) -> dict[str, Any]:
        """The queue as JSON data."""
        return {"version": VERSION, **dataclasses.asdict(self), "paused": sorted(self.paused)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The queue that `as_dict` wrote.

        Raises:
            KeyError: an entry is missing.
            TypeError: an entry has the wrong type.
            OtherVersionError: it is from another version of Easel.
            ValueError: a time is not a number, or a run's name is a path.
        """
        if data["version"] != VERSION:
            raise OtherVersionError
        rows = [_entry(row) for row in data["entries"]]
        if any(not is_name(entry.run) for entry in rows):
            raise ValueError("it names a run by a path")
        texts = [{str(key): str(value) for key, value in data[name].items()} for name in ("reasons", "last")]
        paused = frozenset(map(str, data["paused"]))
        return cls(tuple(rows), paused, bool(data["stops_on_failure"]), *texts)


def _entry(row: Mapping[str, Any]) -> Entry:
    environment = {str(name): str(value) for name, value in row.get("environment", {}).items()}
    return Entry(
        str(row["run"]), str(row["gpu"]), str(row["spec"]), float(row["added"]), float(row["taken"]), environment
    )


class Change:
    """A change of the queue in progress: `queue` is replaced, and saved at the end of the block, or earlier by `save`."""

    def __init__(self, queue: Queue) -> None:
        self.queue = self._saved = queue

    def save(self) -> None:
        """Writes the queue if it was changed.

        Raises:
            JobError: it cannot be written.
        """
        if self.queue == self._saved:
            return
        try:
            write_whole(file(), json.dumps(self.queue.as_dict(), indent=1) + "\n", durable=True)
        except OSError as error:
            raise JobError(
                f"The queue cannot be written: {error.strerror or error}.", "Check the free disk space."
            ) from error
        self._saved = self.queue


def read() -> Queue:
    """The queue as it is now; an empty one if there is none. A run that has ended, or was deleted, does not wait any more.

    Raises:
        DamagedQueueError: the file is damaged.
        JobError: it cannot be read, or is from another version of Easel.
    """
    try:
        with open_regular(file()) as opened:
            content = opened.read(LARGEST_FILE_BYTES)
    except FileNotFoundError:
        return Queue()
    except OSError as error:
        raise JobError(
            f"The queue {file()} cannot be read: {error.strerror or error}.", "Check its permissions."
        ) from error
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _damaged("it is empty" if not content.strip() else "it is not JSON") from error
    if not isinstance(data, dict):
        raise _damaged("it is not a table")
    try:
        found = Queue.from_dict(data)
    except OtherVersionError as error:
        raise JobError(f"The queue {file()} is of another version of Easel.", "Update Easel.") from error
    except KeyError as error:
        raise _damaged(f"the entry {error.args[0]!r:.40} is missing") from error
    except (TypeError, AttributeError) as error:
        raise _damaged("an entry is not of the type that Easel writes") from error
    except ValueError as error:
        raise _damaged(str(error)) from error
    # One that is being started stays: only the owner of the queue knows what became of it.
    return found.with_entries(tuple(entry for entry in found.entries if entry.taken or _can_start(entry)))


def _damaged(why: str) -> DamagedQueueError:
    return DamagedQueueError(
        f"The queue {file()} is damaged: {why}.",
        "`easel runs queue repair` makes a new one of the runs that were not started, and keeps the damaged file.",
    )


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """No other process changes the queue during the block.

    Raises:
        JobError: the folder of the queue cannot be written.
    """
    with _open("lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def changing() -> Iterator[Change]:
    """The queue, which no other process changes during the block.

    Raises:
        JobError: the file is damaged, or cannot be written.
    """
    with locked():
        change = Change(read())
        yield change
        change.save()


class Ownership:
    """The right to start runs, which at most one process has at a time. The system takes it back when the process ends."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    @classmethod
    def take(cls) -> Self | None:
        """The ownership; None if another process has it.

        Raises:
            JobError: the folder of the queue cannot be written.
        """
        file = _open("owner")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
        return cls(file)

    def give_back(self) -> None:
        """Ends the ownership."""
        self._file.close()


def _can_start(entry: Entry) -> bool:
    return places.is_there(entry.path / SPEC) and not places.is_there(entry.path / RESULT)


def waits(path: Path) -> bool:
    """Whether the job in a folder waits in the queue: it is one of its runs, and nobody begins to start it."""
    try:
        entry = read().entry(path.name) if path.parent == places.real(places.runs()) else None
    except JobError:
        return False
    return entry is not None and not entry.taken


def place(gpu: str) -> str:
    """How a sentence names a GPU."""
    return "the CPU" if gpu == "cpu" else f"GPU {gpu}"


def digest(path: Path) -> str:
    """The digest of what a run folder would start; "" if it cannot be read."""
    try:
        with open_regular(path / "spec.json") as file:
            return hashlib.sha256(file.read(LARGEST_FILE_BYTES)).hexdigest()
    except OSError:
        return ""


def is_name(run: str) -> bool:
    """Whether a text is the plain name of a folder."""
    return run not in ("", ".", "..") and "/" not in run and "\0" not in run


def log() -> Path:
    """The file with what the owner did."""
    return places.queue() / "owner.log"


def file() -> Path:
    """The list of the waiting runs."""
    return places.queue() / "queue.json"


def _open(name: str) -> IO[str]:
    try:
        places.queue().mkdir(parents=True, exist_ok=True)
        return (places.queue() / name).open("a")
    except OSError as error:
        raise JobError(
            f"The folder {places.queue()} cannot be written: {error.strerror or error}.", "Check its permissions."
        ) from error
