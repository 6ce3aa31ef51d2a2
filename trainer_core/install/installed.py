"""The installed engines, read from their folders. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import EaselError
from trainer_core.files import from_table, read_json
from trainer_core.install.kept import Kept, come_back

PARTS = ("venv", "source", "schema", "trials.json", "installed.json")
"""What an installation makes in the folder of an engine, apart from its logs."""


@dataclass(frozen=True)
class InstalledEngine:
    """An engine's environment as it was installed. `details` are what the check found: versions, the GPU."""

    id: str
    version: str
    commit: str
    interpreter: str
    torch: str
    torch_reason: str
    accelerator: str
    origin: str
    fingerprint: str
    installed_at: str
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """The engine's folder."""
        return engine_home(self.id)

    @property
    def python(self) -> Path:
        """The Python of the engine's environment."""
        return self.home / "venv" / "bin" / "python"

    @property
    def source(self) -> Path | None:
        """The folder with the engine's source code, for an engine that runs from source."""
        return self.home / "source" if self.commit else None

    @property
    def checkout(self) -> Path | None:
        """The same as `source`, under the name that `Place` uses."""
        return self.source


def engine_home(engine: str) -> Path:
    """The folder an engine is installed in."""
    return places.engines() / engine


def kept(engine: str) -> Kept:
    """The engine's environment with the one from before the last update."""
    return Kept(engine_home(engine), PARTS, "installed.json")


def installed(engine: str) -> InstalledEngine | None:
    """The installed engine, or None when it is not installed, is being installed, or its installation was interrupted.

    If an update was interrupted, the engine from before it comes back.
    """
    if marker(engine).exists() and not come_back(kept(engine)):
        return None
    found = read_record(engine_home(engine))
    # exists() follows links: the interpreter that the environment was created from may have been removed.
    return found if found is not None and found.python.exists() else None


def read_record(folder: Path) -> InstalledEngine | None:
    """What was installed, as a folder records it; None if it does not, or the record is damaged or that of another engine."""
    try:
        found = from_table(InstalledEngine, read_json(folder / "installed.json"), "installed.json")
    except (OSError, ValueError, EaselError):
        return None
    return found if found.id == folder.name else None


def marker(engine: str) -> Path:
    """The file that exists while an installation runs, or after one was interrupted."""
    return kept(engine).marker
