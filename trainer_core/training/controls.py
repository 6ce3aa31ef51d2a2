"""Asks the engine of a running run for a checkpoint or for samples, where the engine can be asked.

The request is a number in the run folder. The run's supervisor copies it into the file that the engine reads.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer_core.engines import registry
from trainer_core.engines.seam import JobSpec, Request
from trainer_core.errors import EaselError, RunError
from trainer_core.events import Notice
from trainer_core.files import write_whole
from trainer_core.jobs.folder import json_object, json_text
from trainer_core.jobs.state import JobState
from trainer_core.training.folder import RunFolder

if TYPE_CHECKING:
    # The supervisor, which passes the requests on, needs nothing that prepares a run.
    from trainer_core.training.run import Run

REQUESTS = "requests.json"
WORDS = {"save": "a checkpoint", "sample": "samples"}


@dataclass(frozen=True)
class Answer:
    """Whether a run can be asked for something, and a sentence: what the engine then does, or why it cannot."""

    possible: bool
    sentence: str


def can(run: Run, request: Request) -> Answer:
    """Whether a run can be asked for something now.

    Raises:
        JobError: its spec.json is damaged.
    """
    control = run.folder.rendered.controls.get(request)
    if control is None:
        return Answer(False, _why_not(run, request))
    if run.state is not JobState.RUNNING:
        return Answer(False, f"The run {run.name} does not run, so its engine cannot be asked for {WORDS[request]}.")
    return Answer(True, control.effect)


def ask(run: Run, request: Request) -> str:
    """Asks the engine of a run for a checkpoint or for samples; returns the sentence about what it then does.

    Raises:
        RunError: this run or its engine cannot be asked for it.
        JobError: the run folder is damaged.
    """
    answer = can(run, request)
    if not answer.possible:
        raise RunError(answer.sentence)
    path = run.folder.path / REQUESTS
    asked = json_object(run.host.read(path)[0]) or {}
    try:
        run.host.put({path: json_text({**asked, request: _count(asked.get(request)) + 1})})
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}.", "Check the free disk space.") from error
    return answer.sentence


class Controls:
    """Passes the requests of a run on to its engine."""

    def __init__(self, run: RunFolder, spec: JobSpec) -> None:
        self._run, self._controls = run, spec.controls
        self._passed: dict[str, int] = {}

    def request(self, request: Request) -> bool:
        """Asks the engine for something; whether it can be asked. The next `look` passes it on."""
        if request not in self._controls:
            return False
        asked = self._run.read(REQUESTS) or {}
        with contextlib.suppress(OSError):
            self._run.write(REQUESTS, {**asked, request: _count(asked.get(request)) + 1})
            return True
        return False

    def look(self) -> list[Notice]:
        """Passes on new requests; a notice about each of them."""
        asked = self._run.read(REQUESTS) if self._controls else None
        said = []
        for request, control in self._controls.items():
            count = _count((asked or {}).get(request))
            if count <= self._passed.get(request, 0):
                continue
            path = self._run.path / control.file
            numbers = self._run.read(str(control.file)) or {}
            if count > _count(numbers.get(control.key)):
                try:
                    write_whole(path, json.dumps({**numbers, control.key: count}) + "\n")
                except OSError:
                    # A full disk may have space again later: the next call tries again.
                    continue
                said.append(Notice("info", f"Request {count} for {WORDS[request]}: {control.effect}"))
            self._passed[request] = count
        return said


def _why_not(run: Run, request: Request) -> str:
    spec = run.folder.rendered
    try:
        title = registry.get(spec.backend).manifest.title
    except EaselError:
        title = "The engine"
    if request == "sample" and spec.controls:
        return f"{title} generates samples on request only if the plan has samples: set after how many steps to sample."
    if request == "sample":
        return f"{title} generates no samples on request. Before the next run, set after how many steps to sample."
    return f"{title} saves no checkpoint on request. Before the next run, set after how many steps to save."


def _count(value: object) -> int:
    """The value as a number of requests; 0 for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31 else 0
