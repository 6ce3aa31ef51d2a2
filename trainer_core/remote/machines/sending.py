"""Sends files to the store of a machine: only what is missing there, and from where an earlier connection was cut."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import local
from typing import Any

from trainer_core.errors import JobError
from trainer_core.jobs.hosts.machine import Machine
from trainer_core.jobs.hosts.questions import Questions
from trainer_core.jobs.hosts.ssh_failure import MachineError
from trainer_core.models.downloads.progress import Meter, Progress
from trainer_core.remote.machines import hub_origin
from trainer_core.remote.machines.answering import MODULE
from trainer_core.remote.machines.known_hashes import KnownHashes
from trainer_core.remote.runs.transfers import Transfers
from trainer_core.remote.storage.work import Tally, Work, each
from trainer_core.text import amount, printable, size

Say = Callable[[str], None]

AT_ONCE = 3
"""So many connections send. An sshd refuses more than ten logins that are not finished yet."""
PIECE_BYTES = 4 << 20
MOST_IN_PIECE = 500
SPARE_BYTES = 512 << 20
"""So much must stay free there for the run's own files, before anything is sent."""
LIMIT_S = 120.0
FINISH_S = 900.0
"""The last piece of a file waits until the machine has read all of it again."""
SAY_S = 5.0
POLL_S = 1.0


@dataclass(frozen=True)
class Item:
    """A file of this machine with its content's SHA-256 and size in bytes."""

    path: Path
    sha256: str
    size: int


@dataclass(frozen=True)
class Sent:
    """What was sent: bytes and files; `there_bytes` were on the machine already."""

    sent_bytes: int
    files: int
    there_bytes: int


def items(paths: Iterable[Path]) -> dict[Path, Item]:
    """The files with their hashes. Those of large files are kept, so that a model is read once.

    Raises:
        JobError: one cannot be read.
    """
    known = KnownHashes()
    distinct = list(dict.fromkeys(paths))

    def item(path: Path) -> Item:
        try:
            return Item(path, *known.of(path))
        except OSError as error:
            raise JobError(f"{printable(str(path))} cannot be read: {error.strerror or error}.", "Check it.") from error

    found = each(item, distinct, AT_ONCE)
    known.keep()
    return {one.path: one for one in found}


def send(
    machine: Machine,
    files: Iterable[Item],
    say: Say,
    transfers: Transfers | None = None,
    spare_bytes: int = SPARE_BYTES,
) -> Sent:
    """Sends what the machine does not have yet. What has arrived stays there if this is cut, and is not sent again.

    `transfers` are told how far it is.

    Raises:
        MachineError: the machine cannot be reached.
        JobError: its disk is too small, with figures, or a file changed meanwhile.
    """
    wanted = {item.sha256: item for item in files}
    with _connections(machine) as ask:
        answer, body = ask({"do": "there"}, _json({sha256: one.size for sha256, one in wanted.items()}))
        there = _counts(machine, body, wanted)
        missing = [one for one in wanted.values() if there[one.sha256] < one.size]
        left = sum(one.size - max(0, there[one.sha256]) for one in missing)
        had = sum(one.size for one in wanted.values()) - left
        if not missing:
            return Sent(0, 0, had)
        _check_space(machine, answer.get("free"), left, spare_bytes)
        if by_itself := _downloaded_there(machine, ask, missing, there, say, transfers):
            missing = [one for one in missing if one not in by_itself]
            left = sum(one.size - max(0, there[one.sha256]) for one in missing)
        if not missing:
            return Sent(0, 0, had)
        say(f"Sending {amount(len(missing), 'file')} ({size(left)}) to {machine}; {size(had)} are there already.")
        small = [one for one in missing if one.size <= PIECE_BYTES // 4]
        large = sorted((one for one in missing if one.size > PIECE_BYTES // 4), key=lambda one: -one.size)
        with _telling(transfers, f"sending {amount(len(missing), 'file')} to {machine}", _Teller(say)) as tell:
            sending = _Sending(machine, ask, Tally(Work(tell=tell), left, "sending"))
            work: list[Callable[[], None]] = [lambda one=one: sending.large(one, there[one.sha256]) for one in large]
            work += [lambda some=some: sending.small(some) for some in _groups(small)]
            each(lambda do: do(), work, AT_ONCE)
    return Sent(left, len(missing), had)


def arranged(machine: Machine, trees: Sequence[Mapping[str, Item]]) -> list[str]:
    """The folders on the machine with these files under these names; their contents must be there.

    Raises:
        MachineError: the machine cannot be reached.
        JobError: a name cannot be used there.
    """
    with _connections(machine) as ask:
        found = []
        for tree in trees:
            answer, _ = ask({"do": "arrange"}, _json({name: item.sha256 for name, item in tree.items()}))
            found.append(str(answer.get("path", "")))
    return found


_Ask = Callable[..., tuple[dict[str, Any], bytes]]


class _Sending:
    """Sends the files of one call, from several threads."""

    def __init__(self, machine: Machine, ask: _Ask, tally: Tally) -> None:
        self._machine, self._ask, self._tally = machine, ask, tally

    def small(self, group: Sequence[Item]) -> None:
        """Sends small files with one question."""
        contents = [self._read(item, 0, item.size) for item in group]
        about = {"do": "pieces", "files": [(item.sha256, item.size) for item in group]}
        self._put(about, b"".join(contents), LIMIT_S)
        self._tally.add(sum(item.size for item in group))

    def large(self, item: Item, offset: int) -> None:
        """Sends a file piece by piece, from `offset` on."""
        while True:
            piece = self._read(item, offset, min(PIECE_BYTES, item.size - offset))
            about = {"do": "piece", "sha256": item.sha256, "size": item.size, "offset": offset}
            is_last = offset + len(piece) >= item.size
            after = self._put(about, piece, FINISH_S if is_last else LIMIT_S).get("there")
            if not isinstance(after, int) or isinstance(after, bool) or not 0 <= after <= item.size:
                raise MachineError(f"{self._machine} gave an answer that has no meaning.", "Update Easel there.")
            self._tally.add(after - offset)
            if after == item.size:
                return
            offset = after

    def _read(self, item: Item, offset: int, count: int) -> bytes:
        try:
            with item.path.open("rb") as file:
                file.seek(offset)
                found = file.read(count)
        except OSError as error:
            raise JobError(f"{printable(str(item.path))} cannot be read: {error.strerror or error}.") from error
        if len(found) != count:
            raise JobError(f"{printable(str(item.path))} became shorter while it was sent.", "Start it again.")
        return found

    def _put(self, about: Mapping[str, Any], body: bytes, limit_s: float) -> dict[str, Any]:
        try:
            return self._ask(about, body, limit_s)[0]
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise JobError(f"{self._machine} cannot write a file: {error.strerror}.", "Check its disk.") from error
            raise JobError(
                f"The disk of {self._machine} is full.",
                "Delete files there and start again: what has arrived is kept, and is not sent again.",
            ) from error


@contextmanager
def _connections(machine: Machine) -> Iterator[_Ask]:
    """A function that asks the machine, over a connection of the thread that calls it."""
    own, opened = local(), []

    def ask(about: Mapping[str, Any], body: bytes = b"", limit_s: float = LIMIT_S) -> tuple[dict[str, Any], bytes]:
        if not hasattr(own, "questions"):
            own.questions = Questions(machine, LIMIT_S, MODULE)
            opened.append(own.questions)
        return own.questions.ask(about, body, limit_s=limit_s, largest_bytes=64 << 20)

    try:
        yield ask
    finally:
        for questions in opened:
            questions.close()


def _downloaded_there(
    machine: Machine,
    ask: _Ask,
    missing: Iterable[Item],
    there: Mapping[str, int],
    say: Say,
    transfers: Transfers | None,
) -> list[Item]:
    """Those that the machine has downloaded from the Hub itself. What it cannot get there is sent."""
    done = []
    for one in missing:
        origin = hub_origin.origin(one.path, one.sha256, one.size)
        if origin is None or there[one.sha256] > 0:
            continue
        say(f"{machine} downloads {printable(origin.path, 200)} ({size(one.size)}) of {origin.repo} itself.")
        about = {"do": "hub", "sha256": one.sha256, "size": one.size, **origin.as_dict()}
        what = f"{machine} downloads {Path(origin.path).name} itself"
        with _telling(transfers, what, _Teller(say, "Downloaded there")) as tell:
            meter = Meter(tell, one.size)
            while not (answer := ask(about)[0]).get("is_over"):
                if isinstance(count := answer.get("done"), int):
                    meter.at(count)
                time.sleep(POLL_S)
        if refused := answer.get("refused"):
            say(f"It cannot, so the file is sent from here. {printable(str(refused), 300)}")
        else:
            done.append(one)
    return done


@contextmanager
def _telling(transfers: Transfers | None, what: str, teller: _Teller) -> Iterator[Callable[[Progress], None]]:
    """What is to be told of the progress of a transfer: it is said in the log, and told to `transfers`."""
    if transfers is None:
        yield teller
        return
    with transfers.of(what) as tell:

        def both(progress: Progress) -> None:
            teller(progress)
            tell(progress)

        yield both


def _counts(machine: Machine, body: bytes, wanted: Mapping[str, Item]) -> dict[str, int]:
    """How many bytes of each file are there, as the machine says, which may say anything."""
    try:
        said = json.loads(body)
        return {sha256: min(max(-1, int(said[sha256])), one.size) for sha256, one in wanted.items()}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise MachineError(f"{machine} gave an answer that has no meaning.", "Update Easel there.") from error


def _check_space(machine: Machine, free: object, needed: int, spare_bytes: int) -> None:
    if isinstance(free, int) and free < needed + spare_bytes:
        raise JobError(
            f"The disk of {machine} is too small: {size(needed)} must be sent, {size(spare_bytes)} must stay free for the run, "
            f"and {size(free)} are free.",
            "Delete files there, or set EASEL_HOME there to a folder on a larger disk.",
        )


def _groups(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Small files, together at most as long as a piece."""
    group: list[Item] = []
    length = 0
    for item in items:
        if group and (length + item.size > PIECE_BYTES or len(group) >= MOST_IN_PIECE):
            yield group
            group, length = [], 0
        group.append(item)
        length += item.size
    if group:
        yield group


class _Teller:
    """Says the progress every few seconds."""

    def __init__(self, say: Say, what: str = "Sent") -> None:
        self._say, self._what, self._told_s = say, what, time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._told_s < SAY_S:
            return
        self._told_s = now
        left = "" if progress.eta_s is None else f", about {progress.eta_s / 60:.0f} minutes left"
        total = progress.total_bytes or 0
        rate = f" ({size(progress.bytes_per_s)} per second{left})" if progress.bytes_per_s else ""
        self._say(f"{self._what} {size(progress.done_bytes)} of {size(total)}{rate}.")


def _json(data: object) -> bytes:
    return json.dumps(data).encode()
