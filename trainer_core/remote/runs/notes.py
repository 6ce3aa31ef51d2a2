"""What a carrier must know again after its process was killed, such as the id of a job at a service: a JSON file of the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core.files import open_own, write_whole
from trainer_core.jobs.folder import JobFolder, json_object, json_text, writing

FOLDER = "remote"
"""The folder of a run that has what was brought from the trainer, and what is known of it."""
CARRIER = "carrier.json"


class Notes:
    """Entries of one carrier, kept in a file. Never a secret."""

    def __init__(self, folder: Path) -> None:
        self._path = JobFolder(folder).path / FOLDER / CARRIER

    def read(self) -> dict[str, Any]:
        """All entries; {} if there are none, or if the file is damaged."""
        try:
            with open_own(self._path) as file:
                return json_object(file.read(1 << 20)) or {}
        except (OSError, ValueError):
            return {}

    def write(self, entries: Mapping[str, Any]) -> None:
        """Adds entries, or replaces those with the same name; on the disk when this returns.

        Raises:
            JobError: the file cannot be written.
        """
        with writing(self._path.parent):
            self._path.parent.mkdir(exist_ok=True)
            write_whole(self._path, json_text({**self.read(), **entries}), durable=True)
