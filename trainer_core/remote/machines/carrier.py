"""Runs on machines that ssh reaches: the carrier, and its kind, the entry point `ssh`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from trainer_core.engines.status import EngineStatus
from trainer_core.errors import JobError
from trainer_core.hardware import Machine as Hardware
from trainer_core.jobs.hosts.questions import Questions
from trainer_core.jobs.hosts.ssh_failure import MachineError
from trainer_core.jobs.stop_request import When
from trainer_core.remote.machines import book, bringing, engine_list, engine_there, installing
from trainer_core.remote.machines.answering import MODULE
from trainer_core.remote.machines.book import Entry
from trainer_core.remote.machines.names import check_name
from trainer_core.remote.runs.carrier import REQUESTS, Doing, FileThere, NotNow, RunPhase, Seen, Target, quiet
from trainer_core.remote.runs.fetching import fetch, file_there
from trainer_core.remote.runs.notes import Notes
from trainer_core.remote.runs.outgoing import Outgoing
from trainer_core.remote.runs.transfers import Transfers, fetched
from trainer_core.text import printable

Say = Callable[[str], None]

KIND = "ssh"
LIMIT_S = 60.0
BEGIN_S = 900.0
"""The machine reads all images and the model before it answers."""
_LATER = frozenset({"unknown", "denied", "changed", "ssh"})
"""What may pass for a machine that was reached before: no network to find its name, no agent with the key, another machine there."""
_LISTED_BYTES = 64 << 20
_PHASES: Mapping[str, RunPhase] = {phase: phase for phase in get_args(RunPhase)}


class SshCarrier:
    """Reaches one run on a machine; see `Carrier`."""

    def __init__(self, entry: Entry, id: str, folder: Path, notes: Notes) -> None:  # noqa: A002 - the id of a run is called so
        """Nothing is connected yet."""
        self._entry, self._id, self._folder, self._notes = entry, id, folder, notes
        self._machine, self._transfers = entry.machine, Transfers(folder)
        self._questions = Questions(self._machine, LIMIT_S, MODULE)
        self._listed: dict[str, FileThere] = {}

    def begin(self, say: Say, doing: Callable[[Doing], None] = quiet) -> None:
        """Brings Easel, the engine, images and models as far as they are missing, and starts the run there; see `Carrier`."""
        if self._is_known():
            # Its answer to the start was lost with the connection.
            say(f"The run was started on {self._machine}.")
            return
        outgoing = Outgoing.of(self._folder, self._id)
        self._check_engine(outgoing.engine, say, doing)
        doing("bringing")
        at = bringing.bring(self._machine, outgoing, say, self._transfers)
        request = outgoing.request(lambda place: at[place.key] if place.key in at else at[place.path])
        self._ask({"do": "run begin"}, request.to_json().encode(), limit_s=BEGIN_S)
        say(f"The run was started on {self._machine}.")

    def resume(self, id: str, say: Say) -> None:  # noqa: A002 - as above
        """Starts this run as the continuation of the one with this id; see `Carrier`."""
        self._ask({"do": "run resume", "id": self._id, "of": id}, limit_s=BEGIN_S)
        say(f"The run was continued on {self._machine}.")

    def state(self) -> Seen:
        """Where the run is; see `Carrier`."""
        answer, _ = self._ask({"do": "run seen", "id": self._id})
        phase = _PHASES.get(str(answer.get("phase")))
        if phase is None:
            return self._refuse()
        return Seen(phase, printable(str(answer.get("sentence", "")), 500), answer.get("is_known") is not False)

    def read(self, name: str, offset: int) -> bytes:
        """Bytes of a file of the run; see `Carrier`."""
        return self._ask({"do": "run read", "id": self._id, "name": name, "offset": offset})[1]

    def files(self) -> Mapping[str, FileThere]:
        """The files that the run has made; see `Carrier`."""
        _, body = self._ask({"do": "run files", "id": self._id}, limit_s=BEGIN_S, largest_bytes=_LISTED_BYTES)
        try:
            said = json.loads(body)
            self._listed = {_own(name): file_there(row) for name, row in said.items()}
        except (ValueError, AttributeError, RecursionError):
            return self._refuse()
        return self._listed

    def fetch(self, name: str, target: Path) -> None:
        """Copies a file of the run; see `Carrier`."""
        there = self._listed.get(name) or self.files().get(name)
        if there is None:
            raise JobError(f"{self._machine} has no file {printable(name, 200)!r} of this run.", "Look what it has.")

        def pieces(offset: int, take: Callable[[bytes], None]) -> None:
            while offset < there.size:
                _, piece = self._ask({"do": "run file", "id": self._id, "name": name, "offset": offset})
                if not piece:
                    return
                take(piece)
                offset += len(piece)

        # Another try begins with what the file is by then.
        self._listed.pop(name, None)
        with self._transfers.of(fetched(name)) as tell:
            fetch(there, target, pieces, tell)

    def stop(self, after: When) -> None:
        """Asks the run to end; see `Carrier`."""
        self._ask({"do": "run stop", "id": self._id, "after": after})

    def put(self, name: str, content: bytes) -> None:
        """Replaces the file of requests of the run; see `Carrier`."""
        if name != REQUESTS:
            raise JobError(f"{name!r:.80} is no file that a trainer gets.")
        self._ask({"do": "run put", "id": self._id}, content)

    def finish(self, words: tuple[str, ...]) -> bool:
        """Starts a command on the machine, if the run has ended; False if an earlier call did.

        Raises:
            MachineError: the machine cannot be reached.
            JobError: the run has not ended, or the command cannot be started.
        """
        return self._ask({"do": "run done", "id": self._id, "words": list(words)})[0].get("told") == "started"

    def close(self) -> None:
        """Gives up the connection; see `Carrier`."""
        self._questions.close()

    def _is_known(self) -> bool:
        """Whether the run was started before."""
        try:
            return self.state().phase != "waiting"
        except MachineError as error:
            # No Easel yet, or an older one.
            if error.kind not in ("easel", "version"):
                raise
            return False

    def _check_engine(self, engine: str, say: Say, doing: Callable[[Doing], None]) -> None:
        """Installs what is missing, if the user has agreed to that.

        Raises:
            JobError: something is missing and may not be installed.
        """
        may = self._entry.may_install
        name = self._entry.name or str(self._machine)
        try:
            version = self._questions.version
        except MachineError as error:
            if error.kind not in ("easel", "version") or not may:
                raise _with_command(error, f"easel remote machine install {name}") from error
            version = ""
        told = installing.differs(self._machine, version)
        if may and (told or not version):
            doing("installing")
            installing.install(self._machine, say)
            self._questions.close()
        elif told:
            say(told)
        if engine_there.is_ready(self._questions, engine):
            return
        if not may:
            raise JobError(
                f"The engine {engine} is not installed on {self._machine}.",
                f"Install it with: {engine_list.command(name, engine)}",
            )
        doing("installing")
        engine_there.install(self._machine, engine, say)

    def _ask(
        self, about: Mapping[str, Any], body: bytes = b"", *, limit_s: float = LIMIT_S, largest_bytes: int = 8 << 20
    ) -> tuple[dict[str, Any], bytes]:
        try:
            found = self._questions.ask(about, body, limit_s=limit_s, largest_bytes=largest_bytes)
        except MachineError as error:
            if error.kind in _LATER and self._notes.read().get("reached"):
                raise NotNow(error.message, error.hint) from error
            raise
        except OSError as error:
            raise JobError(f"{self._machine} cannot read or write a file: {error.strerror or error}.") from error
        if not self._reached:
            self._reached = True
            self._notes.write({"reached": True})
        return found

    _reached = False

    def _refuse(self) -> Any:
        raise MachineError(f"{self._machine} gave an answer that has no meaning.", "Update Easel here and there.")


class SshKind:
    """Machines that ssh reaches, as a way to reach trainers; see `CarrierKind`.

    A target names a machine: by its name in the book, and its address. Keys and commands are not part of it.
    """

    id, title = KIND, "A machine that ssh reaches"
    variables = ("SSH_AUTH_SOCK",)
    patience_s = 24 * 3600.0

    def target(self, text: str) -> Target:
        """The target for `user@host[:port]`, a name of the ssh configuration, or a name in the book; see `CarrierKind`."""
        entry = book.find(text)
        return {"kind": KIND, "name": entry.name, "address": entry.address, "easel": entry.easel}

    def shown(self, target: Target) -> str:
        """What people read for it; see `CarrierKind`."""
        return printable(str(target.get("name") or target.get("address") or "a machine"), 200)

    def machine(self, target: Target) -> Hardware | None:
        """What the machine has; None if Easel is still to be installed there; see `CarrierKind`."""
        return self.look(target)[0]

    def look(self, target: Target) -> tuple[Hardware | None, Mapping[str, EngineStatus] | None]:
        """The same, and the status of each engine there, asked for anew; see `trainer_core.remote.runs.carrier.look`."""
        entry = entry_of(target)
        name = entry.name or str(entry.machine)
        questions = Questions(entry.machine, LIMIT_S, MODULE)
        try:
            answer, _ = questions.ask({"do": "machine"})
            found = engine_list.parsed(answer.get("engines"))
            engines = None if found is None else engine_list.statuses(found, name, may_install=entry.may_install)
            return Hardware.from_dict(answer["machine"]), engines
        except MachineError as error:
            if error.kind not in ("easel", "version"):
                raise
            if not entry.may_install:
                raise _with_command(error, f"easel remote machine install {self.shown(target)}") from error
            return None, engine_list.statuses((), name, may_install=True)
        except (KeyError, TypeError) as error:
            raise MachineError(f"{entry.machine} gave an answer that has no meaning.", "Update Easel there.") from error
        finally:
            questions.close()

    def carrier(self, target: Target, id: str, folder: Path, notes: Notes) -> SshCarrier:  # noqa: A002 - as above
        """The carrier of a run; see `CarrierKind`."""
        return SshCarrier(entry_of(target), id, folder, notes)


kind = SshKind()


def entry_of(target: Target) -> Entry:
    """The machine of a target: that of the book if it is the same one, because only the book has keys and commands.

    Raises:
        JobError: the target is damaged.
    """
    name, address, easel = (target.get(key) for key in ("name", "address", "easel"))
    if not (isinstance(name, str) and isinstance(address, str) and isinstance(easel, str)):
        raise JobError("The machine of this run is not named in its folder.", "Its remote.json is damaged.")
    known = book.read().get(name)
    if known is not None and (known.address, known.easel) == (address, easel):
        return known
    return Entry(name="", address=address, easel=easel)


def _with_command(error: MachineError, command: str) -> MachineError:
    return MachineError(error.message, f"Bring it there with: {command}", error.kind)


def _own(name: object) -> str:
    """The name of a file of a run, as the machine says it, which may say anything.

    Raises:
        JobError: it is none.
    """
    found = check_name(name)
    if found.partition("/")[0] not in ("output", "finished"):
        raise JobError(f"{printable(found, 200)!r} is no file that a run sends.", "Look what runs on the machine.")
    return found
