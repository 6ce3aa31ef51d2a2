"""The one thread of a notebook: it reads what is new in a run's folder and passes it on, at most four times a second."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from trainer_core.errors import RunError
from trainer_core.runs.run import FINAL_STATES, Run
from trainer_core.text import printable, without_escapes
from trainer_ui.boundary import attempt
from trainer_ui.record import Record
from trainer_ui.verdict import verdict

if TYPE_CHECKING:
    from pathlib import Path

TICK_S = 0.25
BEAT_S = 2.0
LOG_TAIL_BYTES = 64 * 1024
LOG_LINES = 300
LONGEST_LINE = 600
"""Colours, and the links that a library writes around file names when it takes its output for a terminal."""
_PADDING = re.compile(r"(?<=\S) {24,}(?=[^\s|])")
"""What pushes a file name to the right edge of a terminal of 300 columns. A bar's own room ends at its "|"."""

Tell = Callable[[Mapping[str, Any], list[bytes]], None]


class LogTail:
    """The end of a growing log file: what is new of it, in whole lines, and the line that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []
        self.open = ""
        self._offset = -1
        self._rest = b""

    def read(self) -> list[str]:
        """The lines that were finished since the last call."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, 2)
                start = max(0, size - LOG_TAIL_BYTES)
                if not 0 <= self._offset <= size or start > self._offset:
                    self._offset, self._rest = start, b""
                file.seek(self._offset)
                found = file.read(size - self._offset)
        except OSError:
            return []
        self._offset += len(found)
        *whole, self._rest = (self._rest + found).replace(b"\r\n", b"\n").split(b"\n")
        lines = [self._shown(line) for line in whole][-LOG_LINES:]
        self.open = self._shown(self._rest)
        self.lines = (self.lines + lines)[-LOG_LINES:]
        return lines

    @staticmethod
    def _shown(line: bytes) -> str:
        """A line as a terminal of this width would show it: a progress bar draws itself again after each carriage return."""
        text = line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
        return printable(_PADDING.sub("  ", without_escapes(text)).rstrip(), LONGEST_LINE, keep="\t")


class Watch:
    """One run as this notebook has read it so far."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.record = Record()
        self.log = LogTail(run.directory.log)
        self.state = ""
        self._prompt = prompt_of(run)
        self._total = run.directory.spec.total_steps
        self._offset = 0
        self._told = (-1, 0, 0)
        self._last: Mapping[str, Any] = {}

    def news(self, full: bool) -> tuple[Mapping[str, Any], list[bytes]] | None:
        """The message for the view: everything when `full`, else what is new, None when nothing is."""
        # The state is read first: when it is final, the events and lines that are read after it are the last ones.
        self.state = self.run.state.name
        self._read()
        lines = self.log.read()
        points, samples, notices = (0, 0, 0) if full or self._told[0] < 0 else self._told
        status = self._status()
        record = self.record
        changed = (
            status != self._last or lines or self._told != (record.count, len(record.samples), len(record.notices))
        )
        if not (changed or full):
            return None
        first = full or self._told[0] < 0
        message = {
            "kind": "run",
            "run": self.run.directory.path.name,
            "full": first,
            "from": points,
            "status": status,
            "samples": [self._sample(index) for index in range(samples, len(record.samples))],
            "notices": [{"severity": n.severity, "text": printable(n.text)} for n in record.notices[notices:][-8:]],
            "log": {"lines": self.log.lines if first else lines, "open": self.log.open},
        }
        self._told, self._last = (record.count, len(record.samples), len(record.notices)), status
        return message, [record.points[3 * points :].tobytes()]

    def _read(self) -> None:
        """Takes all new events; a long file is read in pieces."""
        while True:
            before = self._offset
            found, self._offset = self.run.events(before)
            for event in found:
                self.record.take(event)
            if self._offset == before:
                return

    def _status(self) -> dict[str, Any]:
        record = self.record
        phase = " · ".join(part for part in (record.phase, record.epoch) if part) or "starting the engine"
        return {
            "state": self.state,
            "phase": printable(phase, 200),
            "step": record.step,
            "total": record.total or self._total,
            "seconds_per_step": record.seconds_per_step,
            "log": self.log.open,
            "verdict": verdict(self.run) if self.run.state in FINAL_STATES else [],
        }

    def _sample(self, index: int) -> dict[str, Any]:
        sample = self.record.samples[index]
        return {"index": index, "step": sample.step, "prompt": self._prompt}


def prompt_of(run: Run) -> str:
    """What the samples of a run show, as its plan says; "" when the plan cannot be read."""
    try:
        plan = run.directory.plan
    except RunError:
        return ""
    prompt, trigger = plan.get("sampling", {}).get("prompt", ""), plan.get("dataset", {}).get("trigger", "")
    return printable(str(prompt).replace("{trigger}", str(trigger)), 300)


class Feed:
    """Follows at most one run; everything the view is told comes from this one thread, so that it comes in order.

    `tell` takes a message for the page, `beat` says that the kernel is there, `changed` that the run's state changed, with
    a sentence when something went wrong. None of them may wait long.
    """

    def __init__(self, tell: Tell, beat: Callable[[], None], changed: Callable[[str], None]) -> None:
        self._tell, self._beat, self._changed = tell, beat, changed
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._run: Run | None = None
        self._full = self._closed = False
        self.watch: Watch | None = None
        self._thread = threading.Thread(target=self._loop, name="easel-feed", daemon=True)

    def start(self) -> None:
        """Begins; a feed cannot be started twice."""
        self._thread.start()

    def follow(self, run: Run | None) -> None:
        """Shows this run from now on, or none."""
        with self._lock:
            self._run, self._full = run, True
        self._wake.set()

    def tell_all(self) -> None:
        """Tells everything again: a view has just come up, or lost count."""
        with self._lock:
            self._full = True
        self._wake.set()

    def close(self) -> None:
        """Ends the thread, not the run."""
        self._closed = True
        self._wake.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)

    def _loop(self) -> None:
        beaten = 0.0
        while not self._closed:
            if time.monotonic() - beaten >= BEAT_S:
                beaten = time.monotonic()
                attempt(self._beat, lambda _: None)
            if not attempt(self._tick, self._changed):
                # A run that cannot be read is let go: asking again four times a second would say the same each time.
                self.follow(None)
            live = self.watch is not None and self.watch.state not in _FINAL_NAMES
            self._wake.wait(TICK_S if live else BEAT_S)
            self._wake.clear()
            # Woken early or not: the pause keeps a burst of requests to four messages a second.
            if not self._closed and live:
                time.sleep(0.02)

    def _tick(self) -> None:
        with self._lock:
            run, full, self._full = self._run, self._full, False
        if run is None:
            self.watch = None
            if full:
                self._tell({"kind": "run", "run": "", "full": True}, [])
            return
        if self.watch is None or self.watch.run is not run:
            self.watch, full = Watch(run), True
        before = self.watch.state
        news = self.watch.news(full)
        if news:
            self._tell(*news)
        if self.watch.state != before:
            self._changed("")


_FINAL_NAMES = frozenset(state.name for state in FINAL_STATES)
