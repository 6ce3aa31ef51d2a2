"""The folders a person added to the library: kept in <home>/model_folders.toml.

version = 1
folders = ["/data/models", "/mnt/loras"]
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from trainer_core import places
from trainer_core.errors import LibraryError
from trainer_core.library.files import write_whole

_VERSION = 1
_LONGEST_BYTES = 1_000_000


def kept_in() -> Path:
    """The file that names the folders."""
    return places.home() / "model_folders.toml"


def listed() -> tuple[Path, ...]:
    """The folders that were added, in the order they were.

    Raises:
        LibraryError: the file that names them cannot be read, or says something else.
    """
    path = kept_in()
    try:
        with path.open("rb") as file:
            table = tomllib.loads(file.read(_LONGEST_BYTES).decode("utf-8"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, RecursionError) as error:
        raise LibraryError(
            f"{path} cannot be read: {error}.", "Mend it, or delete it and add the folders again."
        ) from error
    folders = table.get("folders")
    is_ours = table.get("version") == _VERSION and set(table) == {"version", "folders"}
    if not is_ours or not isinstance(folders, list) or not all(isinstance(folder, str) for folder in folders):
        raise LibraryError(f"{path} is not a list of model folders.", "Delete it and add the folders again.")
    return tuple(Path(folder) for folder in folders)


def add(folder: str | Path) -> Path:
    """Adds a folder, and returns it as it is kept: absolute.

    Raises:
        LibraryError: it is no folder, may not be read, or was added before.
    """
    path = existing(folder)
    before = listed()
    if path in before:
        raise LibraryError(f"{path} was added before.")
    _keep((*before, path))
    return path


def remove(folder: str | Path) -> Path:
    """Takes a folder off the list and returns it; the folder itself stays as it is.

    Raises:
        LibraryError: it is not on the list.
    """
    before = listed()
    path = Path(folder) if Path(folder) in before else _absolute(folder)
    if path not in before:
        known = ", ".join(str(each) for each in before)
        raise LibraryError(f"{path} was not added.", f"Added: {known}." if known else "No folder was added.")
    _keep(tuple(each for each in before if each != path))
    return path


def existing(folder: str | Path) -> Path:
    """The absolute path of a folder that can be read.

    Raises:
        LibraryError: it is none, or may not be read.
    """
    path = _absolute(folder)
    if not places.is_folder(path):
        raise LibraryError(f"{path} is not a folder.", "Check the path.")
    if not os.access(path, os.R_OK | os.X_OK):
        raise LibraryError(f"{path} may not be read.", "Check its permissions.")
    return path


def _absolute(folder: str | Path) -> Path:
    """A path as typed, absolute and without `..`; links in it stay, as a person gave them."""
    return Path(os.path.abspath(places.typed(folder)))  # noqa: PTH100 - Path.resolve would follow links


def _keep(folders: tuple[Path, ...]) -> None:
    import tomli_w

    try:
        write_whole(kept_in(), tomli_w.dumps({"version": _VERSION, "folders": [str(folder) for folder in folders]}))
    except (OSError, UnicodeError) as error:
        raise LibraryError(
            f"{kept_in()} cannot be written: {error}.", "Check its permissions and free space."
        ) from error
