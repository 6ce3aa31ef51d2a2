"""What a way to reach a trainer must provide: a `CarrierKind` names trainers, its `Carrier` serves one run on one of them.

A kind is an entry point in the group "trainer_core.carriers"; the entry point's name is the "kind" of a target. So the folder of
a run never names code. `trainer_core.remote.runs.contract.check_carrier_contract` checks a carrier.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from trainer_core.errors import EaselError, JobError
from trainer_core.jobs.hosts.ssh_failure import MachineError
from trainer_core.jobs.stop_request import When

if TYPE_CHECKING:
    from trainer_core.engines.status import EngineStatus
    from trainer_core.hardware import Machine
    from trainer_core.remote.runs.notes import Notes

ENTRY_POINTS = "trainer_core.carriers"
READ = ("events.jsonl", "engine.log", "spec.json", "versions.json", "result.json")
"""The files of the remote run that a carrier can read."""
REQUESTS = "requests.json"
"""The only file that a carrier can put: how often the engine was asked for samples or a checkpoint."""
FOLDERS = ("output", "finished")
"""The folders of the remote run whose files are fetched."""
_PASSING_MACHINE = frozenset({"cut", "slow", "unreachable", "refused"})
"""The causes for which ssh does not reach a machine now, and may reach it later."""

Target = Mapping[str, Any]
"""The trainer of a run as data in its folder: "kind", and what that kind needs to find it again. Never a secret."""
RunPhase = Literal["waiting", "running", "ended", "lost"]
"""Where a remote run is: not begun yet; running; ended, so its files change no more; or gone, with no result to come."""

Doing = Literal["installing", "bringing"]
"""What is done before a run begins: an engine is installed there, or data is brought."""


class NotNow(JobError):  # noqa: N818 - it passes, so it is not the end of anything
    """The trainer cannot be asked now: no connection, no answer, too many requests. The same request may succeed later.

    `wait_s` is the time in seconds that the trainer asks to wait; None if it does not say.
    """

    is_passing = True

    def __init__(self, message: str, hint: str = "", wait_s: float | None = None) -> None:
        super().__init__(message, hint)
        self.wait_s = wait_s


def is_passing(error: EaselError) -> bool:
    """Whether the same request to a trainer may succeed later, without anybody doing anything here."""
    if isinstance(error, MachineError):
        return error.kind in _PASSING_MACHINE
    return bool(getattr(error, "is_passing", False))


@dataclass(frozen=True)
class Seen:
    """Where the remote run is, and a sentence for people about it; "" if there is nothing to add.

    `is_known` is False for one that waits or is lost, if the trainer has nothing of it: it was never asked for it, or it is gone.
    """

    phase: RunPhase
    sentence: str = ""
    is_known: bool = True


@dataclass(frozen=True)
class FileThere:
    """A file of the remote run: its size in bytes, a `tag` that changes when its content does, and its SHA-256 if known.

    `sha256` is in lower-case hexadecimal digits, "" if the trainer does not say it.
    """

    size: int
    tag: str
    sha256: str = ""


def quiet(_: Doing) -> None:
    """Nobody listens."""


class Carrier(Protocol):
    """Reaches the trainer of one run. Every call may be repeated; a follower that was killed calls them again.

    Each call raises an error for which `is_passing` is true when the trainer cannot be asked now, and another JobError or
    RemoteError, with a hint what to do, when it refuses. Nothing that it says or writes contains a secret.
    """

    def begin(self, say: Callable[[str], None], doing: Callable[[Doing], None] = quiet) -> None:
        """Brings what is missing to the trainer and starts the run there, unless it was started.

        `say` gets sentences for the log, and `doing` is told what is done now if that is not bringing data.

        Raises:
            JobError: the trainer cannot do it; the hint says what to do.
        """
        ...

    def state(self) -> Seen:
        """Where the remote run is now."""
        ...

    def read(self, name: str, offset: int) -> bytes:
        """Bytes of one of the files in `READ` from `offset` on: as many as it likes to return at once, at most 8 MiB.

        b"" if there are no more for now, or if the file does not exist yet.
        """
        ...

    def files(self) -> Mapping[str, FileThere]:
        """The files below `output/` and `finished/` of the remote run, by their paths in its folder with "/"."""
        ...

    def fetch(self, name: str, target: Path) -> None:
        """Copies one of `files` to `target`, whose folder exists; `target` appears only when it is complete.

        Continues where an earlier call was cut. Checks the size, and the SHA-256 where it is known.

        Raises:
            JobError: the content is not what the trainer announced; what arrived is removed.
        """
        ...

    def stop(self, after: When) -> None:
        """Asks the remote run to end; when this returns, the request is known to have arrived. Also for a run that has ended."""
        ...

    def put(self, name: str, content: bytes) -> None:
        """Replaces the file `REQUESTS` of the remote run, by which its engine is asked for samples or a checkpoint.

        Raises:
            JobError: this trainer cannot be asked for it.
        """
        ...

    def resume(self, id: str, say: Callable[[str], None]) -> None:  # noqa: A002 - the id of a run is called so everywhere
        """Starts this run there, unless it was started, as the continuation of the remote run with this id.

        Raises:
            JobError: this trainer cannot continue it, or has no state of it any more; the message says plainly why.
        """
        ...

    def close(self) -> None:
        """Gives up the connection. The remote run goes on."""
        ...


class CarrierKind(Protocol):
    """A way to reach trainers, such as ssh.

    `variables` are the environment variables that its carriers read: a run's follower inherits them, and they are written
    nowhere. `patience_s`: for how many seconds a trainer may be out of reach before the follower of a run gives up.
    """

    id: str
    title: str
    variables: tuple[str, ...]
    patience_s: float

    def target(self, text: str) -> Target:
        """The target that the user names, by what follows the kind and a colon, as `me@gpu-box:2222` in `ssh:me@gpu-box:2222`.

        Raises:
            JobError: it is not the name of such a trainer.
        """
        ...

    def shown(self, target: Target) -> str:
        """What people read for a target, as `me@gpu-box` or `RunPod endpoint abc`."""
        ...

    def machine(self, target: Target) -> Machine | None:
        """What the trainer's machine has, for the checks of a plan; None if that is not known before the run.

        Raises:
            JobError: the trainer cannot train, or cannot be reached.
        """
        ...

    def carrier(self, target: Target, id: str, folder: Path, notes: Notes) -> Carrier:  # noqa: A002 - as above
        """The carrier of the run with this id. `folder` is its local folder; `notes` keep what it must know again later.

        Does not connect. `folder` may lack everything but `remote.json`, when a run is attached on another computer; only
        `begin` and `resume` need the rest (`trainer_core.remote.runs.outgoing.Outgoing.of(folder)`).

        Raises:
            JobError: the target is damaged, or a key is missing.
        """
        ...


def look(kind: CarrierKind, target: Target) -> tuple[Machine | None, Mapping[str, EngineStatus] | None]:
    """What the machine of a trainer has, and its engines by id; None for what is not known before the run.

    A kind may have a method `look` that tells both; without one, the engines are not known.

    Raises:
        JobError: the trainer cannot train, or cannot be reached.
    """
    own = getattr(kind, "look", None)
    return own(target) if own is not None else (kind.machine(target), None)


def kinds() -> tuple[str, ...]:
    """The ids of the ways to reach trainers that are installed."""
    return tuple(sorted(importlib.metadata.entry_points(group=ENTRY_POINTS).names))


def get(kind: str) -> CarrierKind:
    """The way to reach trainers with this id.

    Raises:
        JobError: there is none, or it cannot be loaded.
    """
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    if not (named := list(points.select(name=kind))):
        known = ", ".join(sorted(points.names)) or "none"
        raise JobError(
            f"Easel has no way to reach a trainer called {kind!r:.80}. Known: {known}.",
            "Update Easel, or install the package that provides it.",
        )
    try:
        return named[0].load()
    except (ImportError, AttributeError) as error:
        raise JobError(
            f"The way to reach a trainer {kind!r:.80} cannot be loaded: {error}.", "Update Easel."
        ) from error
