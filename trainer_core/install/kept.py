"""The environment from before an update: kept until the new one works, and afterwards to go back to. Standard library only.

A virtual environment contains its own path, so it works only where it was made. It is renamed into `before/`, where nothing can run
it, and back to the same path, where it works again. An environment is several files and folders, its `parts`; they are renamed one by
one, and a step that was killed is finished or undone by `recover`. The file `installing` says which step it was:

"keeping"     the parts move into `before/`; undone by moving them back
"building"    all have moved, and the new environment is made and checked; undone by dropping it, then as "keeping"
"leaving"     going back: the parts move into `aside/`; undone by moving them back
"returning"   going back: those in `before/` move to the usual place and are checked; undone by moving them back, then as "leaving"
"returned"    going back was done: what is in `aside/` moves into `before/`; this is finished

Nothing is deleted while it is waited for: what is dropped gets a name that begins with `.dropped-`, and `sweep` deletes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer_core.files import write_whole

BEFORE, ASIDE, MARKER = "before", "aside", "installing"
_DROPPED = ".dropped-"


@dataclass(frozen=True)
class Kept:
    """The environment in `folder` and the one from before. `record` is the part that is written last, when it is complete.

    `prefix` begins the names of what this adds to the folder, for a folder with other things in it.
    """

    folder: Path
    parts: Sequence[str]
    record: str
    prefix: str = ""

    @property
    def before(self) -> Path:
        """The folder of the environment from before."""
        return self.folder / f"{self.prefix}{BEFORE}"

    @property
    def marker(self) -> Path:
        """The file that exists while a step runs, or after one was killed."""
        return self.folder / f"{self.prefix}{MARKER}"

    @property
    def lock(self) -> Path:
        """The file that whoever changes the environment has locked."""
        return self.folder / f"{self.prefix}lock"

    @property
    def has_before(self) -> bool:
        """Whether there is a complete environment to go back to."""
        return (self.before / self.record).is_file()

    @property
    def is_complete(self) -> bool:
        """Whether there is a complete environment at the usual place."""
        return (self.folder / self.record).is_file()

    def set_aside(self) -> None:
        """The first half of an update: afterwards nothing is at the usual place, and a complete environment is in `before/`.

        Parts of an incomplete one are dropped, and an older one in `before/` stays.
        """
        if self.is_complete:
            self._drop(self.before)
            self._write("keeping")
            self._move(self.folder, self.before)
            self._write("building")
        else:
            self._write("building")
            self._drop_parts()

    def accept(self) -> None:
        """The second half of an update: the new environment stays."""
        self.marker.unlink(missing_ok=True)

    def go_back(self) -> None:
        """The first half of going back: the environment from before is at the usual place, to be checked."""
        self._write("leaving")
        self._move(self.folder, self._aside)
        self._write("returning")
        self._move(self.before, self.folder)

    def stay_back(self) -> None:
        """The second half of going back: the environment that was left is now the one to go back to."""
        self._write("returned")
        self.recover()

    def recover(self) -> bool:
        """Undoes or finishes a step that failed or was killed; whether the usual place then has a complete environment.

        It is idempotent: killed itself, it continues where it was. It renames only, so it is quick.
        """
        step = self._step()
        if step == "building" and not self.is_complete:
            self._drop_parts()
            self._write(step := "keeping")
        if step == "keeping":
            self._move(self.before, self.folder)
        if step == "returning":
            self._move(self.folder, self.before)
            self._write(step := "leaving")
        if step == "leaving":
            self._move(self._aside, self.folder)
        if step == "returned":
            self._move(self._aside, self.before)
        self.marker.unlink(missing_ok=True)
        return self.is_complete

    @property
    def can_recover(self) -> bool:
        """Whether a step was killed that leaves a complete environment once it is undone or finished."""
        return self.marker.exists() and (self.has_before or (self._aside / self.record).is_file() or self.is_complete)

    def forget(self) -> None:
        """Deletes the environment from before, and what was dropped."""
        self._drop(self.before)
        self.sweep()

    def sweep(self) -> None:
        """Deletes what was dropped."""
        for left in self._dropped():
            shutil.rmtree(left, ignore_errors=True)

    @property
    def size(self) -> int:
        """The bytes of the environment from before, and of what was dropped and not deleted yet."""
        return sum(map(size_of, (self.before, *self._dropped())))

    def _dropped(self) -> list[Path]:
        return list(self.folder.glob(f"{_DROPPED}{self.prefix}*"))

    @property
    def _aside(self) -> Path:
        return self.folder / f"{self.prefix}{ASIDE}"

    def _step(self) -> str:
        # An Easel before this one left the marker empty, and had deleted what was there.
        with contextlib.suppress(OSError, ValueError):
            return self.marker.read_text("utf-8").strip() or "building"
        return ""

    def _write(self, step: str) -> None:
        # On the disk before the renames that it tells of: a machine can lose its power between them.
        write_whole(self.marker, step + "\n", durable=True)

    def _move(self, here: Path, there: Path) -> None:
        """Renames each part that is `here`; the record last on the way in, so that it is there only with all others."""
        there.mkdir(exist_ok=True)
        for part in (*(each for each in self.parts if each != self.record), self.record):
            if os.path.lexists(here / part):
                (here / part).rename(there / part)
        if here != self.folder:
            with contextlib.suppress(OSError):
                here.rmdir()

    def _drop_parts(self) -> None:
        for part in (self.record, *self.parts):
            self._drop(self.folder / part)

    def _drop(self, path: Path) -> None:
        if not os.path.lexists(path):
            return
        if path.is_dir() and not path.is_symlink():
            path.rename(self.folder / f"{_DROPPED}{self.prefix}{os.urandom(6).hex()}")
        else:
            path.unlink()


def come_back(kept: Kept) -> bool:
    """Whether an environment is back after a step that was killed; False while the step goes on in another process."""
    if not kept.can_recover:
        return False
    try:
        with kept.lock.open("a+") as lock:
            # The tools that the killed process had started hold the lock, too, until the last of them has ended.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return kept.recover()
    except OSError:
        return False


def size_of(folder: Path) -> int:
    """The bytes of the files below a folder, each counted once; 0 if it is not there."""
    seen: dict[tuple[int, int], int] = {}
    for file in _files(folder):
        seen[file.st_dev, file.st_ino] = file.st_size
    return sum(seen.values())


def _files(folder: Path) -> Iterator[os.stat_result]:
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                yield os.lstat(Path(parent, name))
