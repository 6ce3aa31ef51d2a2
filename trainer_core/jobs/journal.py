"""The file of a job's events: appended in order, without repeated ones, and with a limited number of notices."""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from trainer_core import events
from trainer_core.events import Checkpoint, Epoch, Event, Notice, Phase, Sample, StateChange, Step, Validation
from trainer_core.files import open_own
from trainer_core.jobs.heard import Places
from trainer_core.jobs.outcome import Outcome
from trainer_core.jobs.summary import Summary
from trainer_core.jobs.tail import LogTail
from trainer_core.text import printable

_MAX_NOTICES = 300
PLACE = "place"
"""The entry of a line that was copied from another file: where that file goes on behind it, in bytes."""


class Copied(NamedTuple):
    """An event of another file: where that file goes on behind it in bytes, and its time in seconds since 1970, if known."""

    place: int
    time_s: float | None
    event: Event


class Journal:
    """Writes events to a file, each with its time. Repeated steps, files, phases and notices are left out.

    `reopen` goes on with the journal of a supervisor that has ended.
    """

    def __init__(self, path: Path, length: int = 0) -> None:
        self._file = path.open("ab", buffering=0)
        self._written = self._file.seek(0, 2)
        self._unwritten = b""
        self._notices: set[str] = set()
        self._files: set[tuple[str, str]] = set()
        self._again: deque[Event] = deque()
        self._before: Places | None = None
        """Where the reading begins that finds again what an earlier supervisor wrote; None after all that."""
        self._seam = 0
        self._log: LogTail | None = None
        self.phase = ""
        self.summary = Summary(length=length)
        self.steps = 0
        """The last step that was written."""
        self.place = 0
        """Where the file goes on from which events are copied, in bytes."""
        self._last_s = 0.0
        self._validated = -1
        self.checkpoints = 0
        """The number of checkpoints that were written."""
        self.state = ""
        """The last state that was written."""

    @classmethod
    def reopen(cls, path: Path, places: Places, length: int = 0) -> Self:
        """The journal of an earlier supervisor. The log is read again from `places.log` on.

        What that supervisor wrote after `places.events` is then found a second time, and left out.
        """
        made = cls(path, length)
        end = made._restore(path, places.events)
        if not end:
            # The earlier supervisor or the machine ended in the middle of a line.
            made._unwritten = b"\n"
            made.write()
        made._before = places
        return made

    def _restore(self, path: Path, known_bytes: int) -> bool:
        """Takes over what the file says; returns whether its last line is complete."""
        place, is_whole = 0, True
        with open_own(path) as file:
            for line in file:
                place, is_whole = place + len(line), line.endswith(b"\n")
                for data in events.read_lines(line):
                    if (copied := events.whole(data.get(PLACE))) is not None:
                        self.place = max(self.place, copied)
                    if (event := events.from_dict(data)) is not None:
                        self._take_over(event, data.get("time"), place > known_bytes)
        return is_whole

    def _take_over(self, event: Event, at: object, is_late: bool) -> None:
        self.summary.take([event], [events.real(at)])
        self._last_s = max(self._last_s, events.real(at) or 0.0)
        if isinstance(event, Phase | Epoch) and is_late:
            self._again.append(event)
        else:
            self._is_new(event)

    def read_log(self, path: Path) -> LogTail:
        """The reader of the job's log, which begins where the earlier supervisor had come to."""
        size = path.stat().st_size if path.is_file() else 0
        # A log that is shorter than that is another one.
        begin = self._before.log if self._before and self._before.log <= size else 0
        self._log, self._seam = LogTail(path, offset=begin), size
        return self._log

    @property
    def places(self) -> Places:
        """How far the log is read, and how many bytes of events are written."""
        return self._before or Places(self._log.handled if self._log else 0, self._written)

    def write(self, *happened: Event) -> None:
        """Appends events; readers see them at once. If the disk is full, the next call writes the rest."""
        new = [event for event in happened if self._is_new(event)]
        now = time.time()
        self.summary.take(new, [now] * len(new))
        self._append("".join(_text_of(events.to_dict(event), now) for event in new))

    def copy(self, rows: Iterable[Copied]) -> None:
        """Appends events of another file, each once: a journal that is reopened knows how far that file was read (`place`).

        Their times stay, as far as they fit between the last event and now.
        """
        self._forget_again()
        text = ""
        for row in rows:
            self.place = max(self.place, row.place)
            if not self._is_new(row.event):
                continue
            now = time.time()
            self._last_s = at = min(now, max(row.time_s or now, self._last_s))
            self.summary.take([row.event], [at])
            text += _text_of({**events.to_dict(row.event), PLACE: row.place}, at)
        self._append(text)

    def _append(self, text: str) -> None:
        self._unwritten += text.encode()
        # A full disk may have space again later, so it must not end the job.
        with contextlib.suppress(OSError):
            while self._unwritten:
                count = self._file.write(self._unwritten)
                self._unwritten, self._written = self._unwritten[count:], self._written + count

    def close_with(self, ended: Outcome) -> None:
        """Writes the last events (the notices, the diagnosis and the state of `ended`)."""
        self.write(*(Notice("warning", text) for text in ended.notices))
        if ended.diagnosis is not None:
            self.write(Notice("error", ended.diagnosis.cause))
        self.write(StateChange(ended.state.name, ended.diagnosis.cause if ended.diagnosis else ""))

    def close(self) -> None:
        """Closes the file, after a last try to write what a full disk did not take."""
        self.write()
        self._file.close()

    def _is_new(self, event: Event) -> bool:
        match event:
            case Step():
                is_new, self.steps = event.step > self.steps, max(self.steps, event.step)
            case Validation():
                # After a restart the supervisor reads all of the engine's records again.
                is_new, self._validated = event.step > self._validated, max(self._validated, event.step)
            case Phase():
                # A watch may find two in a row again of which it no longer tells what was between them.
                was_written = self._is_again(event)
                is_new = not was_written and (bool(event.part) or event.name != self.phase)
                self.phase = event.name
            case Epoch():
                is_new = not self._is_again(event)
            case Checkpoint() | Sample():
                key = event.kind, event.path
                is_new = key not in self._files
                self._files.add(key)
                self.checkpoints += is_new and isinstance(event, Checkpoint)
            case Notice():
                is_new = event.text not in self._notices and len(self._notices) < _MAX_NOTICES
                self._notices.add(event.text)
            case StateChange():
                is_new, self.state = True, event.state
            case _:
                is_new = True
        return is_new

    def _is_again(self, event: Event) -> bool:
        """Whether the earlier supervisor has written this event, in this order."""
        if event not in self._again:
            return False
        while self._again.popleft() != event:
            pass
        return True

    def looked(self) -> None:
        """Is called after each look of the watch: the earlier supervisor has read no more than the log had at that time."""
        if self._before is not None and (self._log is None or self._log.reached >= self._seam):
            self._before = None
            # A watch that knows what was written before need not find all of it a second time.
            self._forget_again()

    def _forget_again(self) -> None:
        self.phase = next((each.name for each in reversed(self._again) if isinstance(each, Phase)), self.phase)
        self._again.clear()


def _text_of(data: Mapping[str, Any], at: float) -> str:
    # A program's output may contain anything; a lone surrogate, which cannot be encoded, must not end the job.
    is_notice = data["kind"] == "notice"
    shown = {key: printable(value) if is_notice and isinstance(value, str) else value for key, value in data.items()}
    return json.dumps({"time": round(at, 3), **shown}) + "\n"


def last_state(lines: Iterable[Mapping[str, Any]]) -> str:
    """The last state that these lines of an events file tell; "" if they tell none."""
    found = (events.from_dict(dict(line)) for line in lines)
    return next((event.state for event in reversed(list(found)) if isinstance(event, StateChange)), "")
