"""The run's events on disk: appended in order, told once, and not without end."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

from trainer_core import events
from trainer_core.events import Event, Notice, Phase, StateChange, Step
from trainer_core.runs.outcome import Outcome
from trainer_core.text import printable

_MOST_NOTICES = 300


class Journal:
    """Writes events to a file, each with its time. Repeated phases and notices are left out."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._waiting = b""
        self._said: set[str] = set()
        self.phase = ""
        self.steps = 0

    def write(self, *happened: Event) -> None:
        """Appends events; a reader sees them at once. What a full disk refuses waits for the next call."""
        lines = [self._line(event) for event in happened if self._is_news(event)]
        self._waiting += "".join(lines).encode()
        # A disk that is full now may have room again; a training does not end for it.
        with contextlib.suppress(OSError):
            while self._waiting:
                self._waiting = self._waiting[self._file.write(self._waiting) :]

    def close_with(self, ended: Outcome) -> None:
        """Writes what there is to say about the end, as the last of the events."""
        self.write(*(Notice("warning", text) for text in ended.notices))
        if ended.diagnosis is not None:
            self.write(Notice("error", ended.diagnosis.cause))
        self.write(StateChange(ended.state.name, ended.diagnosis.cause if ended.diagnosis else ""))
        self._file.close()

    def _is_news(self, event: Event) -> bool:
        if isinstance(event, Step):
            self.steps = event.step
        elif isinstance(event, Phase):
            news, self.phase = event.name != self.phase, event.name
            return news
        elif isinstance(event, Notice):
            news = event.text not in self._said and len(self._said) < _MOST_NOTICES
            self._said.add(event.text)
            return news
        return True

    def _line(self, event: Event) -> str:
        data = events.to_dict(event)
        # What an engine said may hold anything; half a character that cannot be encoded must not end the run.
        shown = {
            key: printable(value) if isinstance(value, str) and event.kind == "notice" else value
            for key, value in data.items()
        }
        return json.dumps({"time": round(time.time(), 3), **shown}) + "\n"
