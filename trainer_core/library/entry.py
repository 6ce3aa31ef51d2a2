"""One model of the library, and how what is known of it is written down."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core.detection import Detection, Guess

_DEFAULTS = {each.name: each.default for each in dataclasses.fields(Detection)}


@dataclass(frozen=True)
class Entry:
    """One model: a file, the index of a model in several files, or a folder (diffusers, or one component of such).

    `size_bytes` counts all its files, `modified_s` is the time of the last change to any of them (Unix time). `found` is
    None where the header cannot be read or fits no single family; `error` then says why. `file` is the one file that a
    program which takes no folder can be given; None where the weights are in several. `app` is the program whose folders
    it lies in: "easel", "yours", or a table of apps.toml.
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
        """What people call it: the file's name without its ending, or the folder's name."""
        name = self.path.name.removesuffix(".index.json")
        is_folder = name == self.path.name and self.path != self.file
        return name if is_folder else Path(name).stem

    @property
    def family(self) -> str:
        """The id of the family it is of, or was made for; "" where that is unknown."""
        return (self.found.family or self.found.base_family or "") if self.found else ""

    @property
    def role(self) -> str:
        """Its role, one of `detection.ROLES`; "unknown" for what cannot be read."""
        return self.found.role if self.found else "unknown"


def as_row(found: Detection | None, error: str) -> dict[str, Any]:
    """What is known of a model as JSON data, without what is as usual."""
    row: dict[str, Any] = {"error": error} if error else {}
    if found is not None:
        row["found"] = {name: value for name, value in vars(found).items() if value != _DEFAULTS[name]}
        if found.guess is not None:
            row["found"]["guess"] = dataclasses.asdict(found.guess)
    return row


def from_row(row: dict[str, Any]) -> tuple[Detection | None, str]:
    """What `as_row` wrote down.

    Raises:
        TypeError, ValueError, AttributeError: it was not `as_row`.
    """
    error = row.get("error", "")
    if "found" not in row:
        return None, str(error)
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in row["found"].items()
    }
    if values.get("guess"):
        values["guess"] = Guess(**values["guess"])
    return Detection(**values), str(error)
