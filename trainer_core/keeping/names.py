"""Names for files and folders: those that a user gives, and free ones beside those that are taken."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from trainer_core.curation import incoming_names
from trainer_core.errors import FilesError, wrong_use
from trainer_core.models.downloads import names


def checked(text: str) -> str:
    """The name that a user gave for a file or folder, if every system can have such a file.

    Raises:
        FilesError: it cannot be one; the message says why, and names one that can.
    """
    wanted = text.strip()
    if refused := names.refused(wanted):
        raise wrong_use(FilesError(*refused))
    return wanted


def arriving(text: str) -> PurePosixPath | None:
    """The path, below a folder, of a file that comes from outside under this path; None if it leads out or is a hidden file."""
    path = incoming_names.plain(text)
    return None if path is None or incoming_names.is_skipped(path) else path


def numbered(path: Path, *, is_folder: bool = False) -> Iterator[Path]:
    """The path itself, then the same with -2, -3 and so on before its ending."""
    yield path
    ending = "" if is_folder else path.suffix
    for number in itertools.count(2):
        yield path.with_name(f"{path.name.removesuffix(ending)}-{number}{ending}")


def take(path: Path, put: Callable[[Path], object], *, is_folder: bool = False) -> Path:
    """The first of `numbered` at which `put` could put something; it raises FileExistsError where there is something."""
    for each in numbered(path, is_folder=is_folder):
        try:
            put(each)
        except FileExistsError:
            continue
        return each
    raise AssertionError


def free(path: Path, *, is_folder: bool = False) -> Path:
    """The first of `numbered` at which there is nothing."""
    return next(each for each in numbered(path, is_folder=is_folder) if not os.path.lexists(each))
