"""Runs a program of a tool's environment for the images of a job: its results as they come, and again if it is killed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer_core.child import child_environment
from trainer_core.errors import JobError
from trainer_core.files import write_whole
from trainer_core.text import printable

INSIDE = Path(__file__).parent / "inside"
TASK = "task.json"
ENDS_S = 10.0
KILLED_TWICE = 2
"""An image during which the program was killed so often is left out."""
MOST_KILLED = 3
LONGEST_LINE = 64 << 20
ADVICE = "Read engine.log in the folder of the job."
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

Line = Mapping[str, Any]


def run(
    python: Path, program: str, task: Mapping[str, Any], images: Sequence[tuple[str, str]], tell: Callable[[str], None]
) -> Iterator[Line]:
    """The lines of the program that say something of an image, or that it is ready.

    `images` are names and paths. If the program is killed, as by the system when the memory is full, it is started again for
    what is left; an image during which it is killed twice gets a line with an error.

    Raises:
        JobError: the program cannot work with this model, or cannot be started.
    """
    left, killed = dict(images), dict[str, int]()
    while left:
        status = 0
        for line in _lines(python, program, {**task, "images": list(left.items())}):
            if line.get("said") == "ready":
                yield line
            elif "ended" in line:
                status = line["ended"]
            elif left.pop(str(line.get("id")), None) is not None:
                yield line
        if not left:
            return
        if not status:
            raise JobError(f"{program} ended before all images were done.", ADVICE)
        name = next(iter(left))
        killed[name] = killed.get(name, 0) + 1
        if len(killed) > MOST_KILLED and len(killed) * 4 > len(images):
            raise JobError(f"{program} ends with status {status} again and again.", ADVICE)
        tell(f"{program} ended with status {status}; it is started again.")
        if killed[name] >= KILLED_TWICE:
            del left[name]
            yield {"said": "error", "id": name, "reason": f"{program} ends with status {status} at this image"}


def _lines(python: Path, program: str, task: Mapping[str, Any]) -> Iterator[Line]:
    """The lines of one run of the program, then {"ended": its status}; it is ended when the caller stops reading."""
    path = Path(TASK).absolute()
    write_whole(path, json.dumps(task))
    command = [str(python), "-P", str(INSIDE / program), str(path)]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=child_environment(OFFLINE)
        )
    except OSError as error:
        raise JobError(
            f"{python} cannot be started: {error.strerror or error}.", "Install the environment again."
        ) from error
    with process:
        try:
            assert process.stdout is not None
            while raw := process.stdout.readline(LONGEST_LINE):
                line = _read(raw)
                if line.get("said") == "failed":
                    told = printable(str(line.get("reason")), 2000)
                    raise JobError(told, "Fetch the model again, or choose another one.")
                if line:
                    yield line
            yield {"ended": process.wait()}
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(ENDS_S)
                except subprocess.TimeoutExpired:
                    process.kill()


def _read(raw: bytes) -> Line:
    """The JSON object in a line; empty if it is none."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
