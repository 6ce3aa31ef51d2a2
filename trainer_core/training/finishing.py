"""Makes the files of a run ready for delivery: other programs can load them, and their headers say how they were made.

The engine's own files stay unchanged in the output folder; the finished ones are in `finished/` of the run folder, from which
delivery links them. A fully trained model keeps the engine's file: a copy of many GB would need the space twice.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core.errors import EaselError
from trainer_core.models import header, loaders, tensor_copy
from trainer_core.models.loaders import conversion
from trainer_core.training import acceptance, bare_part
from trainer_core.training.acceptance.result import number, section
from trainer_core.training.folder import RunFolder
from trainer_core.training.metadata import keys, result_keys

FOLDER = "finished"
DISK_FLOOR_BYTES = 64 << 20
"""The disk space that a finished copy leaves free."""


class Finishing:
    """Finishes the files of one run. `title` is the name of the result for people."""

    def __init__(self, run: RunFolder, plan: Mapping[str, Any], title: str) -> None:
        self.kind, self.plan = acceptance.kind_of(plan), plan
        self.origin, self.folder, self.title = result_keys.of_run(plan, run.versions), run.path / FOLDER, title
        self.family = str(self.origin.setting("model", "family") or "")
        self.alpha = number(section(plan, "network").get("alpha")) if self.kind == "network" else None
        self.planned = int(number(section(plan, "schedule").get("steps")) or 0)
        """The steps of the plan, for an engine that reported none."""
        self._notices: dict[str, None] = {}
        self.loads: dict[str, dict[str, Any]] = {}
        """For each program whether it loads the final network."""

    @property
    def notices(self) -> list[str]:
        """What was changed or could not be done, as sentences."""
        return list(self._notices)

    def made_final(self, source: Path, steps: int) -> Path:
        """The finished copy of the final result, of which `loads` and `notices` then say which programs load it."""
        if self.kind == "checkpoint" and not source.is_dir():
            self._notices[_kept(source)] = None
        made = self.made(source, steps or self.planned)
        if self.kind == "network":
            self.loads = _loads(made, self.family)
            self._notices |= dict.fromkeys(_told(self.loads))
        return made

    def made(self, source: Path, steps: int) -> Path:
        """The finished copy of a file; the file itself if it cannot be made, and for a whole model."""
        if self.kind == "checkpoint" or source.is_dir():
            if part := bare_part.note(source, self.plan):
                self._notices[part] = None
            return source
        try:
            return self._made(source, steps)
        except (EaselError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self._notices[f"A result was delivered as the engine wrote it, without Easel's metadata: {reason}"] = None
            return source

    def _made(self, source: Path, steps: int) -> Path:
        found = header.read_file(source)
        changed = conversion.improved(found, self.family, self.alpha)
        pieces = changed.pieces if changed else tensor_copy.whole(found.tensors)
        told = metadata_of(self.origin, found.metadata, steps, self.title, changed)
        size = sum(piece.size for piece in pieces)
        free = shutil.disk_usage(self.folder.parent).free
        if free < size + DISK_FLOOR_BYTES:
            raise EaselError(f"the disk has only {free >> 20} MiB left.")
        self.folder.mkdir(exist_ok=True)
        target = self.folder / f"{steps:08d}-{source.parent.name}-{source.name}"
        target.unlink(missing_ok=True)
        tensor_copy.write(source, target, pieces, told, lambda _done, _total: None, result_keys.HASH)
        for sentence in changed.sentences if changed else ():
            self._notices[sentence] = None
        return target


def metadata_of(
    origin: result_keys.Origin,
    engines_own: Mapping[str, str],
    steps: int,
    title: str,
    changed: conversion.Changed | None,
) -> dict[str, str]:
    """The metadata of a finished file. Keys that would be wrong for changed tensors are left out."""
    told = result_keys.for_result(origin, engines_own, steps, title)
    if changed is None:
        return told
    wrong = {*result_keys.OF_THE_TENSORS, *changed.outdated}
    left = {key: value for key, value in told.items() if key not in wrong}
    return {**left, keys.CHANGES: " ".join(changed.sentences)}


def _loads(path: Path, family: str) -> dict[str, dict[str, Any]]:
    try:
        found = header.read_file(path)
    except (EaselError, OSError):
        return {}
    return {answer.program: answer.as_dict() for answer in loaders.judge(found, family)}


def _told(loads: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A notice for each program that does not load the whole file."""
    told = []
    for program, answer in loads.items():
        if answer["loads"] in ("no", "partly"):
            how = "does not load this file" if answer["loads"] == "no" else "loads only a part of this file"
            told.append(f"{program} {how}: {answer['reason']}")
    return told


def _kept(path: Path) -> str:
    size = path.stat().st_size / 2**30
    return (
        f"The model keeps the engine's own metadata, because a copy with Easel's would need {size:.1f} GiB more. "
        "Its plan is plan.toml in the run folder."
    )
