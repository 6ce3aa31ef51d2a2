"""The folders that the user added to the library, stored in <home>/model_folders.toml.

version = 1
folders = ["/data/models", "/mnt/loras"]
"""

from __future__ import annotations

import os
from pathlib import Path

from trainer_core import places
from trainer_core.errors import LibraryError
from trainer_core.files import read_toml, write_whole

_VERSION = 1
_LONGEST_BYTES = 1_000_000


def kept_in() -> Path:
    """The file that lists the folders."""
    return places.home() / "model_folders.toml"


def listed() -> tuple[Path, ...]:
    """The added folders, in the order in which they were added.

    Raises:
        LibraryError: the file that lists them cannot be read or is not valid.
    """
    path = kept_in()
    if not path.exists():
        return ()
    table = read_toml(path, LibraryError, "Fix it, or delete it and add the folders again.", _LONGEST_BYTES)
    folders = table.get("folders")
    is_ours = table.get("version") == _VERSION and set(table) == {"version", "folders"}
    if not is_ours or not isinstance(folders, list) or not all(isinstance(folder, str) for folder in folders):
        raise LibraryError(f"{path} is not a list of model folders.", "Delete it and add the folders again.")
    return tuple(Path(folder) for folder in folders)


def add(folder: str | Path) -> Path:
    """Adds a folder and returns its absolute path.

    Raises:
        LibraryError: it is not a folder, cannot be read, or is already added.
    """
    path = existing(folder)
    before = listed()
    if path in before:
        raise LibraryError(f"{path} is already added.")
    _keep((*before, path))
    return path


def remove(folder: str | Path) -> Path:
    """Removes a folder from the list and returns its path; the folder itself is not changed.

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
        LibraryError: it is not a folder, or cannot be read.
    """
    path = _absolute(folder)
    if not places.is_folder(path):
        raise LibraryError(f"{path} is not a folder.", "Check the path.")
    if not os.access(path, os.R_OK | os.X_OK):
        raise LibraryError(f"{path} cannot be read.", "Check its permissions.")
    return path


def _absolute(folder: str | Path) -> Path:
    """The typed path, absolute and without `..`; symbolic links in it are not resolved."""
    return Path(os.path.abspath(places.typed(folder)))  # noqa: PTH100 - Path.resolve would follow links


def _keep(folders: tuple[Path, ...]) -> None:
    import tomli_w

    try:
        text = tomli_w.dumps({"version": _VERSION, "folders": [str(folder) for folder in folders]})
        write_whole(kept_in(), text.encode())  # a name that is no UTF-8 could not be read back
    except (OSError, UnicodeError) as error:
        raise LibraryError(
            f"{kept_in()} cannot be written: {error}.", "Check its permissions and free space."
        ) from error
