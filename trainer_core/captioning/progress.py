"""What jobs that go through images say in their logs, and what is read from it: the phase, the progress, images that failed."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from trainer_core.events import Event, Notice, Phase, Progress
from trainer_core.files import write_whole
from trainer_core.jobs.folder import JobFolder
from trainer_core.jobs.outcome import Outcome
from trainer_core.text import printable

REPORT = "report.json"
EVERY_S = 0.5
SHOWN = 5
NOT_WRITTEN = "Nothing is written yet."
_DONE = re.compile(r"(?:Tagged|Captioned|Downloaded) (\d+) of (\d+)(?: MiB)?")
_WARNINGS = ("Not tagged: ", "Not captioned: ", "Not used: ", "Waiting: ", "Marked: ")
_PHASES = (
    "Reading the images", "Loading the model", "Tagging", "Captioning", "Asking the server", "Fetching the model",
    "Installing the environment", "Checking that it works.",
)  # fmt: skip


class Meter:
    """Says how many images are done, at most twice a second, and at the end."""

    def __init__(self, verb: str, total: int, done: int, report: Callable[[str], None]) -> None:
        self.done, self._verb, self._total, self._report = done, verb, total, report
        self._said_s, self._said = float("-inf"), -1
        self.more(0)

    def more(self, count: int = 1) -> None:
        """Counts images that are done."""
        self.done += count
        now = time.monotonic()
        if now - self._said_s >= EVERY_S or self.done >= self._total:
            self._said_s = now
            self.finish()

    def finish(self) -> None:
        """Says how many are done now."""
        if self._said != self.done:
            self._said = self.done
            self._report(f"{self._verb} {self.done} of {self._total}")


def parse(line: str) -> Event | None:
    """The progress, the phase or the warning in a line of such a program, or None."""
    text = line.strip()
    if found := _DONE.fullmatch(text):
        return Progress(int(found[1]), int(found[2]))
    if text in _PHASES:
        return Phase(text.rstrip(".").lower())
    if text.startswith(_WARNINGS):
        return Notice("warning", printable(text, 600))
    return Notice("info", text) if text.startswith("Running on ") else None


def write_report(done: int, failed: Sequence[tuple[str, str]]) -> None:
    """Writes what became of the images into the folder of the job, which is the current one."""
    write_whole(Path(REPORT), json.dumps({"done": done, "failed": [list(each) for each in failed]}) + "\n")


def most_frequent(failed: Sequence[tuple[str, str]]) -> str:
    """The reason that most images failed for, with one of them, as a sentence."""
    reason, _ = Counter(reason for _, reason in failed).most_common(1)[0]
    path = next(path for path, each in failed if each == reason)
    return f"{printable(path, 200)}: {printable(reason, 400)}"


def failures(folder: JobFolder) -> list[tuple[str, str]]:
    """The images of a job that failed, with the reasons."""
    found = (folder.read(REPORT) or {}).get("failed")
    rows = found if isinstance(found, list) else []
    return [
        (printable(str(each[0]), 300), printable(str(each[1]), 600))
        for each in rows
        if isinstance(each, list) and len(each) == 2
    ]


def told(folder: JobFolder, one: str, many: str) -> tuple[str, str]:
    """What a finished job has done, as a title and a sentence; `one` and `many` follow the number, such as "caption is ready"."""
    done = (folder.read(REPORT) or {}).get("done")
    number = done if isinstance(done, int) and not isinstance(done, bool) else 0
    return (f"{number:,} {one if number == 1 else many}" if number else f"The {many}"), NOT_WRITTEN


def with_failures(folder: JobFolder, outcome: Outcome) -> Outcome:
    """The outcome, with a notice of the images that failed."""
    failed = failures(folder)
    if not failed or outcome.diagnosis is not None:
        return outcome
    named = "; ".join(f"{path}: {reason}" for path, reason in failed[:SHOWN])
    more = f"; and {len(failed) - SHOWN:,} more" if len(failed) > SHOWN else ""
    images = "1 image was" if len(failed) == 1 else f"{len(failed):,} images were"
    return dataclasses.replace(outcome, notices=[*outcome.notices, f"{images} left out: {named}{more}."])


def duration(seconds: float) -> str:
    """A time to wait in words, such as "12 min"."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
