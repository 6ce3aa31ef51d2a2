"""What still uses a file or folder: runs that are in progress or that name it in their plan, their results, and the open datasets."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import FilesError, JobError
from trainer_core.files import open_own, read_toml
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.keeping import bounds
from trainer_core.keeping.bounds import Spot
from trainer_core.text import printable

MOST_RUNS = 2000
LONGEST_PLAN_BYTES = 1 << 20
RECENT = 3
"""So many datasets that were opened last count as open."""
NAMED = 3


@dataclass(frozen=True)
class Use:
    """Who uses a file or folder, as a sentence. One that `blocks` needs it now: it cannot be moved or deleted until that has ended."""

    sentence: str
    blocks: bool = False


def of(*spots: Spot) -> tuple[Use, ...]:
    """What uses these files and folders, or something in them; what needs them now comes first.

    Raises:
        FilesError: one of them lies outside of the roots.
    """
    paths = [Path(os.path.realpath(bounds.inside(spot).parent)) / spot.path.name for spot in spots]
    found = [*_runs(paths), *_datasets(paths)]
    return tuple(sorted(found, key=lambda use: not use.blocks))


def check(*spots: Spot) -> tuple[Use, ...]:
    """As `of`, if nothing needs them now.

    Raises:
        FilesError: something does; the message names it.
    """
    found = of(*spots)
    blocking = [use.sentence for use in found if use.blocks]
    if blocking:
        raise FilesError(" ".join(blocking[:NAMED]), "Wait until that has ended, or stop it.")
    return found


def told(uses: tuple[Use, ...]) -> str:
    """The uses in a few sentences; "" without any."""
    more = f" {len(uses) - NAMED:,} more use it." if len(uses) > NAMED else ""
    return " ".join(use.sentence for use in uses[:NAMED]) + more


def _runs(paths: list[Path]) -> Iterator[Use]:
    from trainer_core.training.run import list_runs

    for run in list_runs(places.runs())[:MOST_RUNS]:
        name = printable(run.name, 100)
        if any(_touches(Path(os.path.realpath(run.folder.path)), path) for path in paths):
            if _is_live(run.state):
                yield Use(f"The run {name} is in progress.", blocks=True)
            continue
        if (used := _named_in(run.folder.path / "plan.toml", paths)) is not None:
            if _is_live(run.state):
                yield Use(f"The run {name} is in progress and uses {used}.", blocks=True)
            else:
                yield Use(
                    f"The run {name} was trained with {used}: it can then not be repeated without choosing it anew."
                )
        elif (used := _delivered(run, paths)) is not None:
            yield Use(f"{used} is a result of the run {name}, which will not find it in its new place.")


def _is_live(state: JobState) -> bool:
    return state not in FINAL_STATES and state is not JobState.PREPARED


def _delivered(run: Any, paths: list[Path]) -> str | None:
    with contextlib.suppress(JobError, AttributeError, ValueError, TypeError, OSError):
        for text in ((run.result or {}).get("outputs", ()), run.folder.delivered.values()):
            for each in text:
                if isinstance(each, str) and (used := _among(each, paths)) is not None:
                    return used
    return None


def _named_in(plan: Path, paths: list[Path]) -> str | None:
    """The file or folder that a plan names; plans that do not contain its name are not parsed."""
    try:
        with open_own(plan) as file:
            data = file.read(LONGEST_PLAN_BYTES)
        if not any(os.fsencode(path.name) in data for path in paths):
            return None
        table = read_toml(plan, FilesError, "", LONGEST_PLAN_BYTES, "surrogateescape", is_own=True)
    except (OSError, FilesError):
        return None
    return next((used for text in _texts(table) if (used := _among(text, paths)) is not None), None)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        if value.startswith("/"):
            yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _among(text: str, paths: list[Path]) -> str | None:
    """The name of the path in which a path lies, if one does."""
    if "\0" in text:
        return None
    real = Path(os.path.realpath(text))
    return next(
        (printable(path.name, 100) for path in paths if real.is_relative_to(path) or _is_link_to(path, real)), None
    )


def _is_link_to(path: Path, real: Path) -> bool:
    return path.is_symlink() and Path(os.path.realpath(path)) == real


def _touches(folder: Path, path: Path) -> bool:
    """Whether a folder is this path, lies in it, or contains it."""
    return folder.is_relative_to(path) or path.is_relative_to(folder)


def _datasets(paths: list[Path]) -> Iterator[Use]:
    from trainer_core.curation import known

    for folder in known.recent()[:RECENT]:
        real = Path(os.path.realpath(folder))
        if any(real.is_relative_to(path) or path.is_relative_to(real) for path in paths):
            yield Use(
                f"The dataset {printable(folder.name, 100)} was opened lately: an app that shows it will read it again."
            )
