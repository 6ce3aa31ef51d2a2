"""The machines that the user has given names, with what is needed to reach them, in `ssh/machines.json` of Easel's home.

The folder of a run names a machine, and never a key, a configuration of ssh or a command: these are read here, because the folder of
a run may come from somebody else.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import JobError, wrong_use
from trainer_core.files import open_own, write_whole
from trainer_core.jobs.hosts.machine import EASEL, Machine

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_LARGEST_BYTES = 1 << 20


@dataclass(frozen=True)
class Entry:
    """A machine with a name. `may_install`: Easel and engines that are missing there are installed without asking.

    `when_done` are the words of a command that the machine runs when the results of a run are fetched.
    """

    name: str
    address: str
    easel: str = EASEL
    identity: str = ""
    config: str = ""
    may_install: bool = False
    when_done: tuple[str, ...] = ()

    @property
    def machine(self) -> Machine:
        """How it is reached.

        Raises:
            JobError: its address cannot be used.
        """
        identity, config = (Path(text) if text else None for text in (self.identity, self.config))
        return Machine.named(self.address, self.easel, identity=identity, config=config)

    def as_dict(self) -> dict[str, Any]:
        """The entry as JSON data."""
        return asdict(self)


def path() -> Path:
    """The file of the book."""
    return places.home() / "ssh" / "machines.json"


def read() -> dict[str, Entry]:
    """The machines by name.

    Raises:
        JobError: the file is damaged.
    """
    try:
        with open_own(path()) as file:
            found = json.loads(file.read(_LARGEST_BYTES))
        return {name: _entry(name, row) for name, row in dict(found).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise JobError(f"The list of machines in {path()} cannot be read: {error}.", "Correct or remove it.") from error


def keep(entry: Entry) -> None:
    """Adds a machine, or replaces the one with its name.

    Raises:
        JobError: its name or address cannot be used, or the file cannot be written.
    """
    if not _NAME.fullmatch(entry.name):
        hint = "Use letters, digits, dots and dashes."
        raise wrong_use(JobError(f"{entry.name!r:.80} cannot be the name of a machine.", hint))
    _ = entry.machine
    _write({**read(), entry.name: entry})


def forget(name: str) -> None:
    """Removes a machine from the list.

    Raises:
        JobError: there is none with this name, or the file cannot be written.
    """
    known = read()
    if name not in known:
        shown = ", ".join(known) or "none"
        raise wrong_use(JobError(f"There is no machine {name!r:.80} in the list.", f"There are: {shown}."))
    _write({each: entry for each, entry in known.items() if each != name})


def find(name: str) -> Entry:
    """The machine with this name, or the one with this address.

    Raises:
        JobError: it is neither a name nor an address.
    """
    found = read().get(name)
    if found is None:
        found = Entry(name="", address=name)
        _ = found.machine
    return found


def words(command: str) -> tuple[str, ...]:
    """The words of a command, as a shell splits them. No shell runs it, so nothing else of a shell has a meaning.

    Raises:
        JobError: it has no words, or a quote is not closed.
    """
    try:
        found = tuple(shlex.split(command))
    except ValueError as error:
        raise wrong_use(JobError(f"The command cannot be split into words: {error}.", "Check its quotes.")) from error
    if not found:
        raise wrong_use(JobError("The command has no words.", "Write it as: runpodctl stop pod $RUNPOD_POD_ID"))
    return found


def _entry(name: str, row: Mapping[str, Any]) -> Entry:
    known = {each.name: each for each in fields(Entry)}
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items() if key in known}
    found = Entry(**{**values, "name": name})
    texts = (found.address, found.easel, found.identity, found.config, *found.when_done)
    if not all(isinstance(text, str) for text in texts) or not isinstance(found.may_install, bool):
        raise TypeError(f"the entry {name!r:.80} has a value of another type")
    return found


def _write(entries: Mapping[str, Entry]) -> None:
    rows = {
        name: {key: value for key, value in one.as_dict().items() if key != "name"} for name, one in entries.items()
    }
    try:
        write_whole(path(), json.dumps(rows, indent=1) + "\n", personal=True)
    except OSError as error:
        raise JobError(f"{path()} cannot be written: {error.strerror or error}.", "Check EASEL_HOME.") from error
