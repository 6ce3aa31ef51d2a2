"""Brings here what a remote run writes: its events and its log as they grow, its small files, and the files that it made."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from trainer_core import events
from trainer_core.errors import JobError
from trainer_core.events import Checkpoint, Sample
from trainer_core.files import open_own, write_whole
from trainer_core.jobs.folder import RESULT, SPEC, VERSIONS, DiskError, json_object, writing
from trainer_core.remote.runs import names
from trainer_core.remote.runs.carrier import Carrier, FileThere
from trainer_core.remote.runs.fetching import part_of
from trainer_core.remote.runs.known import Known
from trainer_core.remote.runs.notes import FOLDER
from trainer_core.text import printable, size

EVENTS, LOG = "events.jsonl", "engine.log"
SMALL_BYTES = 8 << 20
"""A larger spec.json, versions.json or result.json is not one of Easel's."""
LARGEST_EVENTS_BYTES, LARGEST_LOG_BYTES = 1 << 30, 4 << 30
FLOOR_BYTES = 256 << 20
"""The free disk space that fetched files leave."""
MOST_FILES = 20_000


class GrownTooLargeError(JobError):
    """A file of the trainer that is larger than any training writes it."""


class Mirror:
    """The copy of one remote run in the folder of the local run. `known` says what was copied, for the next follower.

    `log` is the file descriptor of the run's own log, which is opened for appending.
    """

    def __init__(self, run: Path, carrier: Carrier, known: Known, accepted: names.Names, log: int = 1) -> None:
        self._run, self._carrier, self._known, self._accepted, self._log = run, carrier, known, accepted, log
        self._told: list[str] = []
        self._events = run / FOLDER / EVENTS
        self._read_to = 0
        self._half = b""
        self._look()
        self._settle_log()

    @property
    def has_begun(self) -> bool:
        """Whether the remote run has told anything."""
        return self._read_to > 0

    def pull(self) -> bool:
        """Copies what the events and the log have grown by, and the small files; returns whether there was anything new.

        Raises:
            EaselError: the trainer cannot be asked, or the disk takes no more.
        """
        is_new = self._pull_events()
        is_new = self._pull_log() or is_new
        for name in (SPEC, VERSIONS):
            if not (self._run / FOLDER / name).exists():
                self._pull_small(name)
        return is_new

    def pull_result(self) -> bool:
        """Copies the result; whether there is one."""
        return self._pull_small(RESULT)

    def awaits(self) -> bool:
        """Whether the trainer has told of a checkpoint or sample that is not here."""
        return any(event not in self._known.arrived for event in self._told)

    def due(self, there: dict[str, FileThere], *, all_of_them: bool) -> list[str]:
        """The files to be fetched now, in the order of their events: those that were told of, or `all_of_them`."""
        told = [name for event in self._told for name in of_event(event, there) if self.accepts(name)]
        # What the trainer made of the result for its own delivery is made here again.
        engines = [name for name in there if not name.startswith("finished/")]
        rest = [name for name in engines if self.accepts(name)] if all_of_them else []
        wanted = dict.fromkeys([*told, *rest])
        return [name for name in wanted if self._known.fetched.get(name) != there[name].tag][:MOST_FILES]

    def accepts(self, name: str) -> bool:
        """Whether a name of the trainer is one of a file that the engine is known to write; a refusal is told once."""
        if self._accepted.accepts(name):
            return True
        shown = printable(name, 120)
        if shown not in self._known.refused and len(self._known.refused) < 50:
            self._known.refused.append(shown)
            self._known.notice(f"The trainer names a file that Easel does not accept, so it was not fetched: {shown}")
        return False

    def arrived(self, there: dict[str, FileThere], *, has_ended: bool) -> None:
        """Notes which of the checkpoints and samples that were told of are here now, and which will not come any more."""
        known = self._known
        for event in self._told:
            if event in known.arrived:
                continue
            files = of_event(event, there)
            if files and all(known.fetched.get(name) == there[name].tag for name in files):
                known.arrived.append(event)
                if event in known.gone:
                    known.gone.remove(event)
            elif not files and has_ended and event not in known.gone:
                known.gone.append(event)

    def _look(self) -> None:
        """Reads the checkpoints and samples that the copied events tell of."""
        try:
            with open_own(self._events) as file:
                file.seek(self._read_to)
                while piece := file.read(1 << 20):
                    self._read_to += len(piece)
                    self._hear(piece)
        except FileNotFoundError:
            return

    def _hear(self, piece: bytes) -> None:
        whole, newline, self._half = (self._half + piece).rpartition(b"\n")
        if newline:
            for line in events.read_lines(whole):
                event = events.from_dict(line)
                if isinstance(event, Checkpoint | Sample) and event.path not in self._told and self.accepts(event.path):
                    self._told.append(event.path)
        if len(self._half) > SMALL_BYTES:
            raise GrownTooLargeError("A line in the events of the trainer is longer than any event.")

    def _pull_events(self) -> bool:
        here = self._events.stat().st_size if self._events.exists() else 0
        if here > LARGEST_EVENTS_BYTES:
            raise GrownTooLargeError("The events of the trainer are longer than those of any training.")
        piece = self._carrier.read(EVENTS, here)
        if piece:
            with writing(self._run), self._events.open("ab", buffering=0) as file:
                _write_all(file.fileno(), piece)
            self._look()
        return bool(piece)

    def _pull_log(self) -> bool:
        done = self._known.log[0]
        if done > LARGEST_LOG_BYTES:
            return False
        piece = self._carrier.read(LOG, done)
        if not piece:
            return False
        with writing(self._run):
            # The end of this piece in the log tells the next follower how much of it was copied, should this one be killed.
            self._known.log = [done, os.fstat(self._log).st_size, len(piece)]
            self._known.write(self._run)
            try:
                _write_all(self._log, piece)
            finally:
                self._settle_log()
            self._known.write(self._run)
        return True

    def _settle_log(self) -> None:
        """Finds out how much of the last piece was copied."""
        done, before, length = self._known.log
        if length:
            copied = min(max(0, os.fstat(self._log).st_size - before), length)
            self._known.log = [done + copied, 0, 0]

    def _pull_small(self, name: str) -> bool:
        content = b""
        while piece := self._carrier.read(name, len(content)):
            content += piece
            if len(content) > SMALL_BYTES:
                raise GrownTooLargeError(f"The {name} of the trainer is larger than any that Easel writes.")
        # It may be read while it is written.
        if json_object(content) is None:
            return False
        with writing(self._run):
            write_whole(self._run / FOLDER / name, content, durable=name == RESULT)
        return True


def of_event(path: str, there: dict[str, FileThere]) -> list[str]:
    """The files of a checkpoint or sample, which is a file or a folder."""
    return [path] if path in there else [name for name in there if name.startswith(f"{path}/")]


def fetch(run: Path, carrier: Carrier, name: str, there: FileThere) -> None:
    """Fetches one accepted file into the run folder.

    Raises:
        DiskError: there is no space for it.
        EaselError: it cannot be fetched now, or what arrived was damaged.
    """
    with writing(run):
        target = names.place(run, name)
        if target is None:
            raise JobError(f"{name} would be written outside of the run folder, so it was not fetched.")
        part = part_of(there, target)
        missing = there.size - (part.stat().st_size if part.exists() else 0)
        free = shutil.disk_usage(run).free
    if missing + FLOOR_BYTES > free:
        raise DiskError(
            f"{name} needs {size(missing)}, and the disk of {run} has {size(free)} free.",
            "Free space; it is fetched as soon as there is enough.",
        )
    carrier.fetch(name, target)


def _write_all(handle: int, content: bytes) -> None:
    """Writes all of it.

    Raises:
        OSError: the disk takes no more; a part may be written.
    """
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]
