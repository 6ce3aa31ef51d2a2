"""The file of a job's events: appended in order, without repeated ones, and with a limited number of notices."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

from trainer_core import events
from trainer_core.events import Event, Notice, Phase, StateChange, Step
from trainer_core.jobs.outcome import Outcome
from trainer_core.text import printable

_MAX_NOTICES = 300


class Journal:
    """Writes events to a file, each with its time. Repeated phases and notices are left out."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._unwritten = b""
        self._notices: set[str] = set()
        self.phase = ""
        self.steps = 0

    def write(self, *happened: Event) -> None:
        """Appends events; readers see them at once. If the disk is full, the next call writes the rest."""
        lines = [self._line(event) for event in happened if self._is_new(event)]
        self._unwritten += "".join(lines).encode()
        # A full disk may have space again later, so it must not end the job.
        with contextlib.suppress(OSError):
            while self._unwritten:
                self._unwritten = self._unwritten[self._file.write(self._unwritten) :]

    def close_with(self, ended: Outcome) -> None:
        """Writes the last events (the notices, the diagnosis and the state of `ended`), and closes the file."""
        self.write(*(Notice("warning", text) for text in ended.notices))
        if ended.diagnosis is not None:
            self.write(Notice("error", ended.diagnosis.cause))
        self.write(StateChange(ended.state.name, ended.diagnosis.cause if ended.diagnosis else ""))
        self._file.close()

    def _is_new(self, event: Event) -> bool:
        if isinstance(event, Step):
            self.steps = event.step
        elif isinstance(event, Phase):
            is_new, self.phase = bool(event.part) or event.name != self.phase, event.name
            return is_new
        elif isinstance(event, Notice):
            is_new = event.text not in self._notices and len(self._notices) < _MAX_NOTICES
            self._notices.add(event.text)
            return is_new
        return True

    def _line(self, event: Event) -> str:
        data = events.to_dict(event)
        # A program's output may contain anything; a lone surrogate, which cannot be encoded, must not end the job.
        shown = {
            key: printable(value) if isinstance(value, str) and event.kind == "notice" else value
            for key, value in data.items()
        }
        return json.dumps({"time": round(time.time(), 3), **shown}) + "\n"
