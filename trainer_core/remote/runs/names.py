"""Which names of a trainer's files are accepted: only what the engine is known to write, inside the folder of the run."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from trainer_core import places
from trainer_core.engines.seam import Artefacts

OUTPUT = "output"
LONGEST_BYTES, DEEPEST = 200, 6
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


class Names:
    """The files that an engine is known to write into its output folder."""

    def __init__(self, artefacts: Artefacts) -> None:
        patterns = (artefacts.checkpoints, artefacts.samples, artefacts.final)
        self._patterns = [(pattern.glob, re.compile(pattern.pattern)) for pattern in patterns]

    def accepts(self, name: object) -> bool:
        """Whether a name is that of a result or a sample, or of a file in the folder of one."""
        return isinstance(name, str) and is_inside(name) and any(self._fits(each) for each in _with_parents(name))

    def _fits(self, relative: PurePosixPath) -> bool:
        text = relative.as_posix()
        return any(relative.match(glob.removeprefix("**/")) and found.search(text) for glob, found in self._patterns)


def is_inside(name: str) -> bool:
    """Whether a name leads to a file below the output folder, and has nothing that a file system reads in another way."""
    parts = name.split("/")
    return (
        parts[0] == OUTPUT
        and 1 < len(parts) <= DEEPEST
        and not _CONTROL.search(name)
        and all(part not in ("", ".", "..") and not part.startswith(".easel-") for part in parts)
        and all(len(part.encode("utf-8", "surrogatepass")) <= LONGEST_BYTES for part in parts)
        and is_readable(name)
    )


def is_readable(name: str) -> bool:
    """Whether a name has only characters that people can see, or spaces of any kind."""
    return all(letter.isprintable() or unicodedata.category(letter) == "Zs" for letter in name)


def place(run: Path, name: str) -> Path | None:
    """Where a file of the trainer comes in a run folder, with its folder made; None if a link would lead out of it.

    Raises:
        OSError: its folder cannot be made.
    """
    target = run / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or not places.real(target.parent).is_relative_to(places.real(run / OUTPUT)):
        return None
    return target if places.real(run / OUTPUT) == places.real(run) / OUTPUT else None


def _with_parents(name: str) -> Iterator[PurePosixPath]:
    """The name relative to the output folder, and its folders there."""
    relative = PurePosixPath(name).relative_to(OUTPUT)
    yield relative
    yield from (each for each in relative.parents if each.parts)
