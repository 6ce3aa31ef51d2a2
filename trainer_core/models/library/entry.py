"""One model of the library, and its conversion to and from JSON data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core.models.detection import Detection, Guess, ModelSize

_NESTED = {"guess": Guess, "size": ModelSize}
_DEFAULTS = {each.name: each.default for each in dataclasses.fields(Detection)}


@dataclass(frozen=True)
class Entry:
    """One model: a file, the index of a model in several files, or a folder (a diffusers folder or one component of it).

    `size_bytes` is the size of all its files; `modified_s` is the time of the last change to any of them (Unix time).
    `found` is None where the header cannot be read or matches more than one family; `error` then says why. `file` is the
    single file for a program that does not read folders; None where the weights are in several files. `app` is the
    program whose folder contains it: "easel", "yours", or a table of apps.toml.
    """

    path: Path
    size_bytes: int
    modified_s: float
    found: Detection | None
    error: str = ""
    file: Path | None = None
    app: str = ""

    @property
    def name(self) -> str:
        """Its display name: the file name without extension, or the folder name."""
        name = self.path.name.removesuffix(".index.json")
        is_folder = name == self.path.name and self.path != self.file
        return name if is_folder else Path(name).stem

    @property
    def family(self) -> str:
        """The id of its family, or of the family it was made for; "" where that is unknown."""
        return (self.found.family or self.found.base_family or "") if self.found else ""

    @property
    def role(self) -> str:
        """Its role, one of `detection.ROLES`; "unknown" when it cannot be read."""
        return self.found.role if self.found else "unknown"


def as_row(found: Detection | None, error: str) -> dict[str, Any]:
    """A detection and an error as JSON data, without default values."""
    row: dict[str, Any] = {"error": error} if error else {}
    if found is not None:
        row["found"] = {name: value for name, value in vars(found).items() if value != _DEFAULTS[name]}
        row["found"] |= {
            name: dataclasses.asdict(value) for name in _NESTED if (value := getattr(found, name)) is not None
        }
    return row


def from_row(row: dict[str, Any]) -> tuple[Detection | None, str]:
    """The detection and error that `as_row` wrote.

    Raises:
        TypeError, ValueError, AttributeError: `as_row` did not write this row.
    """
    error = row.get("error", "")
    if "found" not in row:
        return None, str(error)
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in row["found"].items()
    }
    values |= {name: kind(**values[name]) for name, kind in _NESTED.items() if name in values}
    return Detection(**values), str(error)
