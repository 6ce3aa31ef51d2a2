"""Keeps the folder of a running job in reach when somebody renames or moves it.

The program, and whoever reads its output, know the folder by its path. A supervisor that finds another place than before at
this path makes it a link to the folder, as long as the job runs.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from trainer_core import places


class Place:
    """The folder of a job, held open by its supervisor: the handle stays with the folder, wherever it is moved.

    `is_lost` is whether the folder was moved and its path is taken: nothing more can be read or written there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_lost = False
        self._handle = os.open(path, os.O_RDONLY)
        self._has_link = False

    @property
    def now(self) -> Path | None:
        """Where the folder is now; None if it was deleted, or moved on a system that does not tell where."""
        return next((each for each in (places.real(self.path), self._named()) if each and self._is_at(each)), None)

    def keep(self) -> None:
        """Links the path to the folder if the folder was moved. Called several times a second."""
        if self.is_lost or self._is_at(self.path):
            return
        if (now := self._named()) is None:
            # It was deleted, or the disk does not answer.
            return
        try:
            if self._has_link and self.path.is_symlink():
                self.path.unlink()
            self.path.symlink_to(now, target_is_directory=True)
        except OSError:
            self.is_lost = True
        else:
            self._has_link = True

    def close(self) -> None:
        """Removes the link."""
        if self._has_link and self.path.is_symlink():
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self._handle)

    def _is_at(self, path: Path) -> bool:
        try:
            return os.path.samestat(path.stat(), os.fstat(self._handle))
        except OSError:
            return False

    def _named(self) -> Path | None:
        """The path by which the system knows the open folder now. Source: Linux, proc(5), /proc/pid/fd."""
        try:
            path = Path(os.readlink(f"/proc/self/fd/{self._handle}"))  # noqa: PTH115 - a deleted folder has no real path
        except OSError:
            return None
        return path if self._is_at(path) else None
