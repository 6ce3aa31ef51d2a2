"""The number of each run among those of its subject: v1, v2 and so on. A run gets it when it is made; no number is given twice.

    versions.json of the run folder    `subject_version`, the number
    <home>/version_numbers.json        the highest number that was ever given, by subject

Runs of an older Easel, which have no number, get theirs when a run of their subject is made or deleted. Only runs in the folder of
runs have numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import RunError
from trainer_core.events import whole
from trainer_core.files import open_own, write_whole
from trainer_core.jobs.alone import alone
from trainer_core.jobs.folder import VERSIONS, JobFolder, entries_of, is_job, json_object, json_text
from trainer_core.jobs.job import Job, since_s
from trainer_core.plan.subject import same
from trainer_core.training import facts
from trainer_core.training.folder import RunFolder

KEY = "subject_version"
"""The entry of versions.json."""
FILE = "version_numbers.json"
LARGEST = 10**9
_LARGEST_FILE_BYTES = 16 << 20


def of_new(folder: Path, about: Mapping[str, Any]) -> dict[str, int]:
    """The number of a run that is made now, as an entry of its versions.json; empty for one outside the folder of runs.

    `about` is what the run trains, as `facts` records it.

    Raises:
        OSError: the numbers cannot be written.
    """
    key = key_of(about)
    if not key or places.real(folder.parent) != places.real(places.runs()):
        return {}
    with alone(places.home()):
        highest = _settled(key) + 1
        _remember(key, highest)
    return {KEY: highest}


def settle(folder: Path) -> None:
    """Gives every run of the subject of the run in `folder` its number, if an older Easel made it without one.

    Raises:
        OSError: the numbers cannot be written.
    """
    if key := _key(folder):
        with alone(places.home()):
            _remember(key, _settled(key))


def key_of(about: object) -> str:
    """The subject of a run, by which it is counted: its own, else the name of its result. "" if it has neither."""
    if not isinstance(about, Mapping):
        return ""
    return same(str(about.get("subject") or "")) or same(str(about.get("name") or ""))


def number(value: object) -> int | None:
    """A recorded number; None if it is missing or cannot be one."""
    found = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else whole(value)
    return found if found is not None and 0 < found <= LARGEST else None


def _settled(key: str) -> int:
    """The highest number of a subject, after each of its runs has one."""
    runs = sorted(_runs(key), key=lambda job: (since_s(job), job.name))
    numbers = [number(job.folder.versions.get(KEY)) for job in runs]
    highest = max(each or 0 for each in (number(_known().get(key)), *numbers))
    for job, own in zip(runs, numbers, strict=True):
        if own is None:
            highest += 1
            job.folder.write(VERSIONS, {**job.folder.versions, KEY: highest})
    return highest


def _runs(key: str) -> Iterator[Job]:
    """The runs of a subject, also the deleted ones."""
    for path in (*entries_of(places.runs()), *entries_of(places.trash())):
        if not path.is_symlink() and is_job(path) and _key(path) == key:
            yield Job(JobFolder(path))


def _key(path: Path) -> str:
    """The subject by which the run in a folder is counted. "" if its versions.json is damaged: it can get no number."""
    folder = RunFolder(path)
    versions = folder.versions
    about = versions.get("about")
    if versions and not isinstance(about, dict):
        # A run of an older Easel.
        with contextlib.suppress(RunError):
            about = facts.of_plan(folder.plan)
    return key_of(about)


def _known() -> dict[str, Any]:
    with contextlib.suppress(OSError), open_own(places.home() / FILE) as file:
        return json_object(file.read(_LARGEST_FILE_BYTES)) or {}
    return {}


def _remember(key: str, highest: int) -> None:
    known = _known()
    if known.get(key) != highest:
        write_whole(places.home() / FILE, json_text({**known, key: highest}), durable=True)
