"""Names for files and folders: those that a user gives, and free ones beside those that are taken."""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeVar

from trainer_core.curation import incoming_names
from trainer_core.errors import FilesError, wrong_use
from trainer_core.models.downloads import names
from trainer_core.text import printable

Named = TypeVar("Named", bound=PurePath)


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
    """The path, below a folder, of a file that comes from outside under this path; None if it is left out: see `unfit`.

    Names that some systems cannot have, or that are too long, are changed: see `changed`.
    """
    path = incoming_names.plain(text)
    if path is None or incoming_names.is_skipped(path):
        return None
    return PurePosixPath(*(names.safe(part) or "_" for part in path.parts))


def unfit(text: str) -> str:
    """Why a file that comes from outside under this path is left out, such as "it is hidden, because its name begins with a dot"; "" if it is not."""
    reason = incoming_names.unfit(text)
    path = None if reason else incoming_names.plain(text)
    if path is None or not incoming_names.is_skipped(path):
        return reason
    if path.name.startswith("."):
        return "it is hidden, because its name begins with a dot"
    if any(part.startswith(".") for part in path.parts):
        return "it is in a hidden folder, whose name begins with a dot"
    return "it is a file that systems add to folders"


def changed(text: str, path: PurePosixPath) -> str:
    """What was changed in the name of a file that came from outside, as a sentence; "" if its name is the same."""
    said = [part.strip() for part in unicodedata.normalize("NFC", text.replace("\\", "/")).split("/")]
    said = [part for part in said if part not in ("", ".")]
    if said == list(path.parts):
        return ""
    if any(len(part.encode("utf-8", "replace")) > names.LONGEST_BYTES for part in said):
        return f"Its name was too long, and was shortened to {printable(path.name, 200)}."
    return f"Its name was changed to {printable(path.name, 200)}, because some systems cannot have the name it came with: {printable(text, 200)}."


def numbered(path: Named, *, is_folder: bool = False) -> Iterator[Named]:
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
