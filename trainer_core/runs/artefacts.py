"""The files an engine leaves: LoRA files and samples, by step, whatever the engine calls them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from trainer_core.backend import ArtefactPattern, Artefacts
from trainer_core.events import Checkpoint, Sample


class ArtefactWatch:
    """Looks for checkpoints and samples in an output folder and tells each once, when it is written whole."""

    def __init__(self, run: Path, output: Path, artefacts: Artefacts) -> None:
        self._run, self._output = run, output
        self._kinds = ((artefacts.checkpoints, Checkpoint), (artefacts.samples, Sample))
        self._sizes: dict[Path, int] = {}
        self._told: set[Path] = set()

    def look(self, step: int, at_end: bool = False) -> Iterator[Checkpoint | Sample]:
        """What is new. A file is whole when its size is the same in two looks, or when the engine has ended.

        `step` is the present one, for files that do not say theirs.
        """
        for pattern, kind in self._kinds:
            for path, match in matching(self._output, pattern):
                if path not in self._told and self._whole(path, at_end):
                    self._told.add(path)
                    groups = match.groupdict()
                    known = {name: int(groups[name]) for name in ("step", "prompt") if groups.get(name)}
                    shown = path.relative_to(self._run).as_posix()
                    yield _event(kind, shown, {"step": step, **known})

    def _whole(self, path: Path, at_end: bool) -> bool:
        try:
            size = path.stat().st_size
        except OSError:
            return False
        before, self._sizes[path] = self._sizes.get(path), size
        return size > 0 and (at_end or size == before)


def matching(output: Path, pattern: ArtefactPattern) -> list[tuple[Path, re.Match[str]]]:
    """The files of a pattern with what their names say, by step and name."""
    found = (
        (path, re.search(pattern.pattern, path.relative_to(output).as_posix())) for path in output.glob(pattern.glob)
    )
    fitting = [(path, match) for path, match in found if match and path.is_file()]
    return sorted(fitting, key=lambda pair: (int(pair[1].groupdict().get("step") or 0), pair[0].name))


def final_file(output: Path, artefacts: Artefacts) -> Path | None:
    """The finished LoRA: the newest file of its pattern, None when there is none."""
    found = [path for path, _ in matching(output, artefacts.final)]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _event(kind: type[Checkpoint | Sample], path: str, known: dict[str, int]) -> Checkpoint | Sample:
    if kind is Sample:
        return Sample(path, **known)
    return Checkpoint(path, known["step"])
