"""Why the system did not make a change of files, as a sentence with advice that fits the reason."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from trainer_core.errors import DownloadError, FilesError
from trainer_core.text import printable

PROTECTED = frozenset({errno.EACCES, errno.EPERM})
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def refusal(what: str, done: str, error: OSError, folder: Path, more: str = "") -> FilesError:
    """The error for the user: `what` cannot be `done`, such as "deleted", in this folder. `more` is said before the advice."""
    why, advice = _reason(error, folder)
    return FilesError(f"{printable(what, 300)} cannot be {done}: {why}.", f"{more} {advice}".strip())


@contextlib.contextmanager
def storing(name: str, folder: Path) -> Iterator[None]:
    """A block that writes a file that arrives in a folder.

    Raises:
        FilesError: the file cannot be written, or another tab or notebook receives it.
    """
    try:
        yield
    except DownloadError as error:
        raise FilesError(
            f"{printable(name, 200)} is already being received in another tab or notebook.",
            "Wait for it, or stop it there.",
        ) from error
    except OSError as error:
        raise refusal(printable(name, 200), "stored", error, folder, "What has arrived is kept.") from error


def can_change(folder: Path) -> bool:
    """Whether names can be added to and removed from a folder. A folder that is locked, as by `chattr +i`, is found out, too."""
    return os.access(folder, os.W_OK | os.X_OK)


def _reason(error: OSError, folder: Path) -> tuple[str, str]:
    shown = printable(str(folder), 200)
    if error.errno in PROTECTED:
        advice = (
            f"`ls -ld {shlex.quote(shown)}` shows who may change it; on Linux `lsattr -d` shows whether it is locked."
        )
        if folder.is_dir() and not can_change(folder):
            return f"nothing can be changed in the folder {shown}, because it is write-protected", advice
        return f"it is protected against changes ({error.strerror})", advice
    if error.errno == errno.EROFS:
        return f"the disk of {shown} can only be read", "Choose a folder on another disk."
    if error.errno in FULL:
        return f"the disk of {shown} is full", "Free some space, or choose another folder."
    if error.errno == errno.ENAMETOOLONG:
        return "its name is too long for this disk", "Choose a shorter name."
    if error.errno == errno.ENOENT:
        return f"it, or the folder {shown}, is gone", "Look at the folder again."
    return f"{error.strerror or error}", f"Check the folder {shown}."
