"""What the mirror of a run copies, and under which names. The finished result has the name of the results, not that of its step."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from trainer_core import events
from trainer_core.errors import EaselError
from trainer_core.events import Checkpoint, Sample
from trainer_core.files import open_own
from trainer_core.jobs.folder import RESULT
from trainer_core.training.delivery import SUFFIX, is_part_of_name
from trainer_core.training.folder import RunFolder, results_stem

RECORDS = (
    "plan.toml", "spec.json", "versions.json", "hardware.json", "states.json", "labels.json", "choice.json", "events.jsonl",
    "engine.log", "result.json",
)  # fmt: skip
"""The files that say what the run was; they are small, and copied again when they have changed."""
FINISHED = "finished"
"""The folder of the finished result in a mirror."""


class File(NamedTuple):
    """A file that is copied: its path in the run folder, and its path in the folder of the mirror."""

    source: str
    name: str


def files(run: RunFolder) -> Iterator[File]:
    """What is copied: checkpoints, samples, the finished result and last the records.

    No saved states, and no finished copies of checkpoints: they would need the space twice.
    """
    seen: set[File] = set()
    for each in _all(run):
        if each not in seen:
            seen.add(each)
            yield each


def _all(run: RunFolder) -> Iterator[File]:
    with contextlib.suppress(OSError), open_own(run.events) as file:
        for line in events.read_lines(file.read()):
            if isinstance(event := events.from_dict(line), Checkpoint | Sample):
                yield from (File(name, name) for name in _whole(run, event.path))
    if is_own(run, RESULT):
        yield from _result(run)
    # Last: where result.json is, everything is.
    yield from (File(name, name) for name in RECORDS if is_own(run, name))


def _result(run: RunFolder) -> Iterator[File]:
    """The result of a run that has ended, under its name: its finished copy, or the engine's own, as of a whole model."""
    source = _source(run)
    stem = _stem(run) or Path(source).stem
    if not source:
        return
    is_folder = (run.path / source).is_dir()
    named = f"{FINISHED}/{stem}" if is_folder else f"{FINISHED}/{stem}{Path(source).suffix}"
    for name in _whole(run, source):
        yield File(name, named + name.removeprefix(source) if is_folder else named)


def _source(run: RunFolder) -> str:
    """The path of the result in the run folder; "" if there is none."""
    # Loads much that only a run with a mirror needs.
    from trainer_core.training.artefacts import final_file
    from trainer_core.training.finishing import FOLDER

    # Their names begin with the step.
    if finished := sorted(_whole(run, FOLDER))[-1:]:
        return finished[0]
    with contextlib.suppress(EaselError, OSError, ValueError):
        final = final_file(run.output, run.rendered.artefacts)
        return final.relative_to(run.path).as_posix() if final is not None else ""
    return ""


def _stem(run: RunFolder) -> str:
    """The name under which the result was delivered, without its ending; that of the plan if it was not. "" if neither can be one."""
    outputs = (run.read(RESULT) or {}).get("outputs")
    first = outputs[0] if isinstance(outputs, list) and outputs and isinstance(outputs[0], str) else ""
    name = Path(first).name.removesuffix(SUFFIX)
    with contextlib.suppress(EaselError):
        # What was not delivered stays in the run folder, under the name that the engine gave it.
        if not is_part_of_name(name) or Path(first).is_relative_to(run.path):
            name = results_stem(run.plan, run)
    return name if is_part_of_name(name) and not name.startswith(".") else ""


def _whole(run: RunFolder, name: str) -> Iterator[str]:
    """A file, or the files of a folder. A run folder is untrusted: what lies outside of it, or is a link, is left out."""
    if not _is_inside(run, name):
        return
    path = run.path / name
    if path.is_dir() and not path.is_symlink():
        for place, _, names in os.walk(path):
            inner = (Path(place, each).relative_to(run.path).as_posix() for each in sorted(names))
            yield from (each for each in inner if is_own(run, each))
    elif is_own(run, name):
        yield name


def is_own(run: RunFolder, name: str) -> bool:
    """Whether a path of the run folder is a file in it, and no link."""
    path = run.path / name
    return _is_inside(run, name) and path.is_file() and not path.is_symlink()


def _is_inside(run: RunFolder, name: str) -> bool:
    """Whether a path leads to something below the run folder, and is one that this system can have."""
    parts = Path(name).parts
    if not parts or ".." in parts or Path(name).is_absolute():
        return False
    try:
        there = os.path.realpath(run.path / name)
        return Path(there).is_relative_to(os.path.realpath(run.path)) and os.path.lexists(os.fsencode(there))
    except (OSError, ValueError):
        # A NUL, half of a character, or longer than a path may be.
        return False
