"""Finds the results and samples of an engine, by step, by the engine's own file names. A result is a file or a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from trainer_core import places
from trainer_core.engines.seam import ArtefactPattern, Artefacts
from trainer_core.events import Checkpoint, Sample

INDEX = "model_index.json"
LONGEST_NUMBER = 12


class ArtefactWatch:
    """Looks for checkpoints and samples in an output folder, and reports each of them once, when it is complete."""

    def __init__(self, run: Path, output: Path, artefacts: Artefacts) -> None:
        self._run, self._output = run, output
        self._kinds = ((artefacts.checkpoints, Checkpoint), (artefacts.samples, Sample))
        self._sizes: dict[Path, tuple[int, int]] = {}
        self._told: set[Path] = set()

    def know(self, path: str) -> None:
        """Leaves out a file or folder, relative to the run folder, that was reported before."""
        self._told.add(self._run / path)

    def look(self, step: int, at_end: bool = False) -> Iterator[Checkpoint | Sample]:
        """New checkpoints and samples. One is complete if its size is the same in two looks, or if the engine has ended.

        `step` is the current step, for files without a step in their name.
        """
        for pattern, kind in self._kinds:
            for path, match in matching(self._output, pattern):
                if path not in self._told and self._whole(path, at_end):
                    self._told.add(path)
                    groups = match.groupdict()
                    known = {name: _number(match, name) for name in ("step", "prompt") if groups.get(name)}
                    shown = path.relative_to(self._run).as_posix()
                    yield _event(kind, shown, {"step": step, **known})

    def _whole(self, path: Path, at_end: bool) -> bool:
        size = size_of(path)
        if size is None:
            return False
        before, self._sizes[path] = self._sizes.get(path), size
        return size[1] > 0 and (at_end or size == before)


def matching(output: Path, pattern: ArtefactPattern) -> list[tuple[Path, re.Match[str]]]:
    """The artefacts of a pattern and the matches of their names, sorted by step and name; all are inside the output folder."""
    inside = places.real(output)
    found = (
        (path, re.search(pattern.pattern, path.relative_to(output).as_posix())) for path in output.glob(pattern.glob)
    )
    fitting = [(path, match) for path, match in found if match and _is_artefact(path, inside)]
    return sorted(fitting, key=lambda pair: (_number(pair[1], "step"), pair[0].name))


def final_file(output: Path, artefacts: Artefacts) -> Path | None:
    """The finished result, a file or a folder: the newest that matches the pattern; None if there is none."""
    found = [path for path, _ in matching(output, artefacts.final)]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def size_of(path: Path) -> tuple[int, int] | None:
    """The number of files of an artefact and their size in bytes; None if it cannot be read, or disappears meanwhile."""
    try:
        if not path.is_dir():
            return 1, path.stat().st_size
        files = [Path(place, name) for place, _, names in os.walk(path) for name in names]
        return len(files), sum(file.lstat().st_size for file in files)
    except OSError:
        return None


def checkpoints(run: Path, output: Path, artefacts: Artefacts) -> list[Checkpoint]:
    """The checkpoints in an output folder, by step."""
    return [
        Checkpoint(path.relative_to(run).as_posix(), _number(match, "step"))
        for path, match in matching(output, artefacts.checkpoints)
    ]


def _number(match: re.Match[str], name: str) -> int:
    """The number in a group of a file name; 0 if there is none, or if it is not a usual one."""
    text = match.groupdict().get(name) or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else 0


def _is_artefact(path: Path, inside: Path) -> bool:
    """Whether a path is a file, or a folder with a model; a link must not lead out of the output folder."""
    if not places.real(path).is_relative_to(inside):
        return False
    return path.is_file() or (path / INDEX).is_file() or (path.is_dir() and any(path.glob("*.safetensors")))


def _event(kind: type[Checkpoint | Sample], path: str, known: dict[str, int]) -> Checkpoint | Sample:
    if kind is Sample:
        return Sample(path, **known)
    return Checkpoint(path, known["step"])
