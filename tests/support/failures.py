"""The recorded logs of failures in tests/data/logs, and the signatures that they are for.

A log is named after the signature that explains it: kohya/no-data.log. Those in common/ and system/ are for the signatures that all
engines share, those in install/ for installations. A log named ok_... is that of a success.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer_core.engines import diagnosis, registry
from trainer_core.engines.diagnosis import Signature
from trainer_core.install.job import Installing

LOGS = Path(__file__).parents[1] / "data" / "logs"
ENGINES = {backend.manifest.id: backend.manifest for backend in registry.available(include_hidden=True)}
SHARING = [backend.manifest.id for backend in registry.available()]
"""The engines that people train with. The rehearsal has a coarser table of its own."""
TABLES: Mapping[str, Sequence[Signature]] = {
    **{name: manifest.diagnosis for name, manifest in ENGINES.items()},
    "install": diagnosis.for_programs(Installing.diagnosis),
    "system": diagnosis.for_programs(),
}
"""The signatures with which the logs of a folder are explained."""


@dataclass(frozen=True)
class Log:
    """A recorded log; `name` is the signature's id, or ok_... for a success."""

    folder: str
    name: str

    @property
    def path(self) -> Path:
        return LOGS / self.folder / f"{self.name}.log"

    @property
    def lines(self) -> list[str]:
        return [line for line in re.split(r"[\r\n]+", self.path.read_text("utf-8")) if line.strip()]

    @property
    def is_success(self) -> bool:
        return self.name.startswith("ok_")

    @property
    def tables(self) -> list[str]:
        """The tables that must explain this log: those of all engines for a message that they share."""
        if self.folder == "common":
            return SHARING
        return [*SHARING, "system", "install"] if self.folder == "system" else [self.folder]

    def __str__(self) -> str:
        return f"{self.folder}/{self.name}"


def logs() -> list[Log]:
    return [Log(path.parent.name, path.stem) for path in sorted(LOGS.glob("*/*.log"))]


def own_rows() -> Iterator[tuple[str, Signature]]:
    """Each signature once, with the folder of its log."""
    for folder, path in {
        "common": diagnosis.COMMON,
        "system": diagnosis.SYSTEM,
        "install": Installing.diagnosis,
        **{name: manifest.folder / "diagnosis.toml" for name, manifest in ENGINES.items()},
    }.items():
        for row in diagnosis.read_table(path):
            yield folder, row
