"""What the follower of a remote run knows, in `remote/state.json`: another follower goes on from it, and the run's watch reads it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from trainer_core.events import real, whole
from trainer_core.files import open_own, write_whole
from trainer_core.jobs.folder import LARGEST_FILE_BYTES, JobFolder, json_object, json_text
from trainer_core.remote.runs.carrier import REQUESTS
from trainer_core.remote.runs.notes import FOLDER

STATE, END = "state.json", "end.json"
MOST_NOTICES = 200


@dataclass
class Known:
    """What is known of a remote run.

    `begun`: the trainer has it. `asked` is the stop that has arrived there. `log` says how the log was copied: the bytes of
    it that are in the run's own log, then the size of that log before the piece that is being copied, and the length of the
    piece. `fetched` has the tag of each file that has arrived. Of the checkpoints and samples that the trainer told of,
    `arrived` are here, and `gone` are no longer there. `refused` are names that are not accepted. `put` is how often
    the engine was asked for something, as the trainer knows it. `phase` is where the run was when the trainer answered last.
    `out_of_reach_since` is when it first failed to answer, in seconds since 1970, and `out_of_reach_s` for how long it was asked
    in vain since then.
    """

    begun: bool = False
    asked: str = ""
    log: list[int] = field(default_factory=lambda: [0, 0, 0])
    fetched: dict[str, str] = field(default_factory=dict)
    arrived: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    doing: str = ""
    detail: str = ""
    phase: str = ""
    out_of_reach_since: float = 0.0
    out_of_reach_s: float = 0.0
    put: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, run: Path) -> Self:
        """What the last follower wrote; nothing if there was none, or if the file is damaged."""
        data, made = read_json(run / FOLDER / STATE) or {}, cls()
        for each in dataclasses.fields(cls):
            value, default = data.get(each.name), getattr(made, each.name)
            if _fits(value, default):
                setattr(made, each.name, value)
        return made

    def write(self, run: Path) -> None:
        """Writes it down.

        Raises:
            OSError: the file cannot be written.
        """
        write_whole(run / FOLDER / STATE, json_text(dataclasses.asdict(self)))

    def notice(self, text: str) -> None:
        """Adds a sentence for the user, once."""
        if text not in self.notices:
            self.notices = [*self.notices, text][-MOST_NOTICES:]


@dataclass(frozen=True)
class RunEnd:
    """How the follower's work ended, in `remote/end.json`.

    "ended": the remote run has ended, and what it made is here. "lost": it cannot be followed any more. "refused": the
    trainer did not begin it. "stopped": it was stopped before it began. The cause and the advice are sentences.
    """

    how: Literal["ended", "lost", "refused", "stopped"]
    cause: str = ""
    advice: str = ""

    @classmethod
    def read(cls, run: Path) -> RunEnd | None:
        """The end of the work; None if it has not ended."""
        data = read_json(run / FOLDER / END)
        if data is None or data.get("how") not in ("ended", "lost", "refused", "stopped"):
            return None
        return cls(data["how"], str(data.get("cause", "")), str(data.get("advice", "")))

    def write(self, run: Path) -> None:
        """Writes it down, durably.

        Raises:
            OSError: the file cannot be written.
        """
        write_whole(run / FOLDER / END, json_text(dataclasses.asdict(self)), durable=True)


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if there is none."""
    try:
        with open_own(path) as file:
            return json_object(file.read(LARGEST_FILE_BYTES))
    except (OSError, ValueError):
        return None


def request_of(run: Path) -> dict[str, int]:
    """How often the user asked the engine for a checkpoint or for samples."""
    asked = JobFolder(run).read(REQUESTS) or {}
    return {name: count for name in ("save", "sample") if (count := whole(asked.get(name))) is not None and count > 0}


def _fits(value: object, default: object) -> bool:
    match default:
        case bool():
            return isinstance(value, bool)
        case float():
            return real(value) is not None
        case list():
            inner = int if default else str
            if not isinstance(value, list) or not all(isinstance(each, inner) for each in value):
                return False
            return not default or len(value) == len(default)
        case dict():
            return isinstance(value, dict) and all(isinstance(each, str | int) for each in value.values())
        case _:
            return isinstance(value, str)
