"""Where the facts about a machine are read: its files, its programs, its environment. Standard library only.

The same code reads this machine and a recorded one: a recorded machine has another root folder, another folder with programs, and
the answers that neither files nor programs give (the size of a disk, the reach of the network).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from trainer_core import bounded

Answer = TypeVar("Answer")
LIMIT_S = 10


@dataclass(frozen=True)
class Probe:
    """A machine that can be read. `search` are the folders with programs, as in PATH; None means this process's own.

    `recorded` are the answers of a recorded machine by name; None means that they are measured here.
    """

    root: Path = Path("/")
    search: str | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    recorded: Mapping[str, Any] | None = None

    def path(self, place: str) -> Path:
        """The path of a file or folder of the machine, named from its root: "proc/meminfo"."""
        return self.root / place

    def text(self, place: str) -> str:
        """The text of a file, without spaces around it; "" if it cannot be read."""
        try:
            with self.path(place).open("rb") as file:
                return file.read(bounded.MOST_BYTES).decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def number(self, place: str) -> int:
        """The whole number in a file; 0 if it cannot be read."""
        try:
            return int(self.text(place), 0)
        except ValueError:
            return 0

    def exists(self, place: str) -> bool:
        """Whether a file or folder exists; False if the system does not permit the check."""
        return os.path.exists(self.path(place))  # noqa: PTH110 - Path's own raises for a folder that may not be read

    def names(self, folder: str) -> list[str]:
        """The names in a folder in the order of their numbers, "card2" before "card10"; none if it cannot be read."""
        try:
            found = os.listdir(self.path(folder))  # noqa: PTH208 - the names are wanted, not paths
        except OSError:
            return []
        return sorted(found, key=lambda name: (len(name), name))

    def program(self, name: str, *folders: str) -> str:
        """The path of a program, looked for in these folders too; "" if there is none."""
        places = (self.path(f"{folder}/{name}") for folder in folders)
        return shutil.which(name, path=self.search) or next((str(path) for path in places if path.exists()), "")

    def ask(self, program: str, *arguments: str, limit_s: float = LIMIT_S) -> str:
        """What a program prints; "" if there is none, if it fails, or if it prints more than any of them does."""
        if not program:
            return ""
        try:
            answer = bounded.run([program, *arguments], limit_s)
        except OSError:
            return ""
        return "" if answer.ended or answer.returncode else answer.stdout

    def fact(self, name: str, measure: Callable[[], Answer]) -> Answer:
        """An answer that is measured on this machine; on a recorded one the recorded answer."""
        return measure() if self.recorded is None else self.recorded[name]


HERE = Probe()
"""This machine."""
