"""The states of a run, from which it can be resumed: which there are, which are whole, and which this Easel saw being saved.

Files of a state are pickles, and a pickle can run code when it is loaded. So while a run goes on, its supervisor records the
SHA-256 of each file of a complete state in `states.json` of the run folder, sealed with a key of this Easel. A state that does
not match its record, or has none, may come from anybody.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.engines.seam import StatePattern
from trainer_core.files import open_own
from trainer_core.jobs import seal
from trainer_core.jobs.seal import SealError
from trainer_core.training.folder import RunFolder

FILE = "states.json"
PART_BYTES = 4 << 20
ZIPPED = (".bin", ".pkl", ".pt")
"""The endings of files that torch.save writes, which are ZIP archives. Source: torch.save since torch 1.6."""
NOT_LOADED = (".png", ".jpg", ".jpeg", ".webp", ".md")
"""The endings of files that nothing loads with a state. SimpleTuner 4 writes its newest samples and a model card into the folder of
a checkpoint, also after the state was complete."""


@dataclass(frozen=True)
class SavedState:
    """A folder with a state, `path`, saved after `step`. `problem` is why it cannot be used, "" if it is whole."""

    path: Path
    step: int
    problem: str = ""

    @property
    def size_bytes(self) -> int:
        """The size of all its files."""
        return sum(file.stat().st_size for file in files_of(self.path))


def saved(folder: RunFolder, pattern: StatePattern | None, last: int) -> list[SavedState]:
    """The states in a run folder, newest first; `last` is the step of a state without a step in its name."""
    if pattern is None or not folder.output.is_dir():
        return []
    found = []
    for path in folder.output.glob(pattern.glob):
        match = re.search(pattern.pattern, path.relative_to(folder.output).as_posix())
        if match and path.is_dir() and not path.is_symlink() and _is_below(path, folder.output):
            step = match.groupdict().get("step")
            found.append(SavedState(path, int(step) if step else last, problem(path, pattern)))
    return newest_first(found)


def _is_below(path: Path, output: Path) -> bool:
    """Whether no folder on the way to a state is a link that leads out of the output folder."""
    return places.real(path).is_relative_to(places.real(output))


def newest_first(found: Iterable[SavedState]) -> list[SavedState]:
    """The states by their steps; of two with the same step, the one with the step in its name comes first."""
    return sorted(found, key=lambda state: (state.step, state.path.name), reverse=True)


def problem(path: Path, pattern: StatePattern) -> str:
    """Why the folder of a state cannot be used: a file is missing or cut off; "" if it is whole."""
    for entry in path.rglob("*"):
        if entry.is_symlink():
            return "it contains a link"
        if not entry.is_dir() and not entry.is_file():
            return f"{entry.name} is neither a file nor a folder"
    for needed in pattern.needs:
        if not any(path.glob(needed)):
            return f"{needed} is missing"
    cut = next((file for file in files_of(path) if not _is_whole(file)), None)
    return f"{cut.name} is cut off" if cut else ""


def files_of(path: Path) -> list[Path]:
    """The files in a folder and its subfolders, sorted by name. Links are not followed."""
    return sorted(Path(place, name) for place, _, names in os.walk(path) for name in names)


def _is_whole(path: Path) -> bool:
    """Whether a file has the length that its own structure says; True for formats that do not say it."""
    try:
        if path.suffix in ZIPPED:
            return zipfile.is_zipfile(path)
        if path.suffix == ".safetensors":
            return _safetensors_bytes(path) == path.stat().st_size
        if path.suffix == ".json":
            json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return True


def _safetensors_bytes(path: Path) -> int:
    """The length of a file that its header gives.

    Raises:
        ValueError: the header is damaged.
    """
    with open_own(path) as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, 100 << 20)))
    try:
        return (
            8
            + length
            + max((row["data_offsets"][1] for name, row in header.items() if name != "__metadata__"), default=0)
        )
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(str(error)) from error


def digest(path: Path) -> Iterator[str]:
    """The SHA-256 of a file, as the last item; before it an empty text after each part, so that the work can be spread."""
    found = hashlib.sha256()
    with open_own(path) as file:
        while part := file.read(PART_BYTES):
            found.update(part)
            yield ""
    yield found.hexdigest()


@dataclass(frozen=True)
class Record:
    """What is known of a complete state: its folder's name, its step, and the SHA-256 of each of its files."""

    name: str
    step: int
    files: Mapping[str, str]

    @property
    def seal(self) -> str:
        """A code that only this Easel can calculate.

        Raises:
            SealError: the key of this Easel is damaged, or cannot be read or written.
        """
        return seal.of(self._content)

    @property
    def _content(self) -> bytes:
        text = json.dumps([self.name, self.step, dict(self.files)], sort_keys=True)
        return text.encode(errors="surrogateescape")

    def fits(self, sealed: object) -> bool:
        """Whether this Easel made this seal for this record.

        Raises:
            SealError: the key of this Easel is missing or damaged, or cannot be read.
        """
        return seal.fits(self._content, sealed)


def record_of(path: Path, step: int, known: Mapping[str, str] | None = None) -> Record:
    """The record of a whole state in a folder; `known` are the hashes of files that need not be read.

    Raises:
        OSError: a file cannot be read.
    """
    given, files = known or {}, {}
    for file in files_of(path):
        name = file.relative_to(path).as_posix()
        files[name] = given.get(name) or list(digest(file))[-1]
    return Record(path.name, step, files)


def records(folder: RunFolder) -> dict[str, Record]:
    """The states that this Easel recorded in a run, by the names of their folders. Entries of others are left out."""
    found = {}
    for row in _rows(folder):
        with contextlib.suppress(AttributeError, KeyError, OverflowError, TypeError, ValueError, SealError):
            record = Record(str(row["name"]), int(row["step"]), dict(row["files"]))
            if record.fits(row["seal"]):
                found[record.name] = record
    return found


def _rows(folder: RunFolder) -> list[Mapping[str, Any]]:
    rows = (folder.read(FILE) or {}).get("states", [])
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def write_records(folder: RunFolder, known: Mapping[str, Record]) -> None:
    """Writes the records of a run.

    Raises:
        OSError: they cannot be written.
        SealError: the key of this Easel is damaged, or cannot be read or written.
    """
    rows = [
        {"name": each.name, "step": each.step, "files": dict(each.files), "seal": each.seal} for each in known.values()
    ]
    folder.write(FILE, {"key": seal.key_name() if rows else "", "states": rows})


def distrust(folder: RunFolder, state: SavedState) -> str:
    """Why a state cannot be trusted, as a sentence; "" if each file that is loaded is as this Easel recorded it."""
    record = records(folder).get(state.path.name)
    if record is None:
        return _why_unknown(folder, state)
    for file in files_of(state.path):
        name = file.relative_to(state.path).as_posix()
        if file.suffix.lower() in NOT_LOADED:
            continue
        if record.files.get(name) != list(digest(file))[-1]:
            return f"{name} is not the file that the run saved: it was changed since."
    return ""


def _why_unknown(folder: RunFolder, state: SavedState) -> str:
    """Why there is no valid record of a state."""
    if all(row.get("name") != state.path.name for row in _rows(folder)):
        return (
            "Easel has no record of this state: the run was cut off before it could be recorded, "
            "or the state comes from somebody else."
        )
    try:
        name = seal.key_name()
    except SealError as error:
        return f"{error.message} So Easel cannot tell whether this state comes from somebody else. {error.hint}"
    made_with = (folder.read(FILE) or {}).get("key")
    if isinstance(made_with, str) and made_with != name:
        return (
            "This state was recorded with another key: by another Easel, or by this one before its key was lost or replaced. "
            "So Easel cannot tell whether it comes from somebody else."
        )
    return "The record of this state was not made by this Easel, so the state may come from somebody else."


def as_data(state: SavedState) -> dict[str, Any]:
    """The state as JSON data."""
    return {"state": str(state.path), "step": state.step, "problem": state.problem}
