"""The trainer of a run as data: `remote.json` in its folder, and the ways in which people write it (`ssh:me@gpu-box`)."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from trainer_core.errors import JobError, wrong_use
from trainer_core.events import real
from trainer_core.files import write_whole
from trainer_core.jobs.folder import json_text, writing
from trainer_core.remote.runs import carrier
from trainer_core.remote.runs.carrier import Carrier, CarrierKind, Target
from trainer_core.remote.runs.known import read_json
from trainer_core.remote.runs.notes import Notes
from trainer_core.remote.runs.request import checked_id

FILE = "remote.json"
VERSION = 1
USUAL = "ssh"
"""The kind of a trainer that is written without one, as me@gpu-box."""
_LONGEST = 64 << 10


@dataclass(frozen=True)
class Remote:
    """Which remote run a local run follows: its id, its trainer, and when it was asked for, in seconds since 1970.

    `resumes` is the id of the remote run that it continues, "" if it begins at step 0. `attached`: it was started elsewhere.
    """

    id: str
    target: Target
    created: float = field(default_factory=time.time)
    resumes: str = ""
    attached: bool = False

    @classmethod
    def of(cls, run: Path) -> Self:
        """What the folder of a run says.

        Raises:
            JobError: it is not that of a remote run, or it is damaged.
        """
        data = read_json(run / FILE)
        if data is None:
            raise JobError(
                f"The {FILE} in {run} is missing or damaged.", "Attach the remote run again: easel remote attach"
            )
        return cls.from_dict(data)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The same from JSON data, as `easel remote attach` takes it.

        Raises:
            JobError: an entry is wrong.
        """
        target, created = data.get("target"), real(data.get("created"))
        if data.get("version") != VERSION or not isinstance(target, dict) or not isinstance(target.get("kind"), str):
            raise JobError(f"This is not the {FILE} of a run, or that of a newer Easel.", "Update Easel.")
        resumes = str(data.get("resumes") or "")
        checked = checked_id(resumes) if resumes else ""
        return cls(checked_id(data.get("id")), target, created or 0.0, checked, data.get("attached") is True)

    @property
    def kind(self) -> CarrierKind:
        """The way to reach the trainer.

        Raises:
            JobError: it is not installed.
        """
        return carrier.get(str(self.target["kind"]))

    @property
    def where(self) -> str:
        """What people read for the trainer."""
        return self.kind.shown(self.target)

    @property
    def attaching(self) -> str:
        """The command that follows this run on another computer."""
        return f"easel remote attach {written(self.target)} {self.id}"

    def carrier(self, run: Path) -> Carrier:
        """The carrier of this run, whose local folder is `run`.

        Raises:
            JobError: the target is damaged, or a key is missing.
        """
        return self.kind.carrier(self.target, self.id, run, Notes(run))

    def write(self, run: Path) -> None:
        """Writes it into the folder of the run.

        Raises:
            JobError: it cannot be written.
        """
        data = {"version": VERSION, "id": self.id, "target": dict(self.target), "created": round(self.created, 3)}
        more = {"resumes": self.resumes, "attached": self.attached}
        with writing(run):
            write_whole(
                run / FILE, json_text({**data, **{key: value for key, value in more.items() if value}}), durable=True
            )


def named(text: str) -> Target:
    """The trainer that the user names: `ssh:me@gpu-box`, `me@gpu-box`, `runpod:ENDPOINT`, or the JSON of a target.

    Raises:
        JobError: there is no such way to reach a trainer, or it does not know this name.
    """
    text = text.strip()
    if text.startswith("{") and len(text) < _LONGEST:
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise wrong_use(JobError(f"This is not a trainer in JSON: {error}.")) from error
        if isinstance(data, dict) and isinstance(data.get("kind"), str):
            carrier.get(data["kind"])
            return data
        raise wrong_use(JobError("This JSON names no kind of trainer."))
    kind, colon, rest = text.partition(":")
    if colon and kind in carrier.kinds():
        return _with_kind(kind, rest)
    if "@" in kind or not colon:
        return _with_kind(USUAL, text)
    known = ", ".join(f"{each}:NAME" for each in carrier.kinds()) or "none"
    raise wrong_use(JobError(f"{text!r:.120} names no trainer.", f"Write it as user@host, or as one of: {known}."))


def written(target: Target) -> str:
    """The target as it can be typed: the short form if that leads to the same target, else JSON in quotes."""
    import shlex

    kind = carrier.get(str(target["kind"]))
    if (spelled := getattr(kind, "spelled", None)) is not None and (text := spelled(target)):
        return shlex.quote(f"{kind.id}:{text}")
    return shlex.quote(json.dumps(dict(target)))


def _with_kind(kind: str, text: str) -> Target:
    if not text:
        raise wrong_use(JobError(f"After {kind}: comes the name of the trainer."))
    try:
        found = carrier.get(kind).target(text)
    except JobError as error:
        raise wrong_use(error) from error
    return {**found, "kind": kind}
