"""A machine that is reached by ssh: how the user names it, and the command of the system's ssh that reaches it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from trainer_core import places
from trainer_core.errors import JobError, wrong_use

EASEL = "easel"
"""Where Easel is on a machine unless the user names another folder: a path that starts in the home folder."""
CONNECT_S = 15
_ADDRESS = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.+-]*)@)?"
    r"(?:(?P<name>[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?)|\[(?P<six>[0-9A-Fa-f:.]+)\])"
    r"(?::(?P<port>[0-9]{1,5}))?",
    re.ASCII,
)
_FOLDER = re.compile(r"[^\x00-\x1f\x7f'\"\\!`$]+")
"""Other folders of Easel are refused: shells differ in how these characters are quoted."""
_HINT = "Write it as user@host or user@host:port, or use a name of your ssh configuration."


@dataclass(frozen=True)
class Machine:
    """A machine that ssh reaches. A `user` of "" and a `port` of 0 leave the choice to the user's ssh configuration.

    `easel` is the folder of Easel's checkout there; a relative one starts in the home folder. `identity` is the file of a key,
    `config` replaces the user's ssh configuration.
    """

    host: str
    user: str = ""
    port: int = 0
    easel: str = EASEL
    identity: Path | None = None
    config: Path | None = None

    @classmethod
    def named(
        cls, address: str, easel: str = EASEL, *, identity: Path | None = None, config: Path | None = None
    ) -> Self:
        """The machine that the user calls `user@host[:port]`, or by a name of the ssh configuration.

        Raises:
            JobError: it is no such address, or the folder of Easel has a name that is not passed on.
        """
        found = _ADDRESS.fullmatch(address)
        port = int(found["port"] or 0) if found else 0
        if found is None or port > 65535 or (found["port"] and not port):
            raise wrong_use(JobError(f"{address!r:.120} is not the address of a machine.", _HINT))
        folder = easel.removeprefix("~/").rstrip("/") or "."
        if not _FOLDER.fullmatch(folder) or folder.startswith("~"):
            hint = "Name a folder without quotes, backslashes, and the characters ! $ `."
            raise wrong_use(JobError(f"{easel!r:.120} cannot be the folder of Easel on {address}.", hint))
        return cls(found["name"] or found["six"], found["user"] or "", port, folder, identity, config)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}" * bool(self.user) + host * (not self.user) + f":{self.port}" * bool(self.port)

    @property
    def python(self) -> str:
        """The Python of Easel on this machine; a relative path starts in the home folder."""
        return f"{self.folder}/.venv/bin/python"

    @property
    def folder(self) -> str:
        """The folder of Easel there; a relative path starts in the home folder."""
        # The name of a program without a slash in front could be an option, or be searched on the PATH.
        return self.easel if self.easel.startswith("/") else f"./{self.easel}"

    def command(self, words: Sequence[str]) -> list[str]:
        """The command that runs these words on the machine. A shell there reads them, so each is quoted."""
        return ["ssh", *self._options(), "--", self.host, " ".join(map(shlex.quote, words))]

    def _options(self) -> list[str]:
        options = ["-T", "-a", "-x"]
        for option in (
            "BatchMode=yes",
            "StrictHostKeyChecking=accept-new",
            f"UserKnownHostsFile={_escaped(known_hosts())} ~/.ssh/known_hosts",
            "UpdateHostKeys=no",
            f"ConnectTimeout={CONNECT_S}",
            "ConnectionAttempts=1",
            "ServerAliveInterval=10",
            "ServerAliveCountMax=3",
            "TCPKeepAlive=yes",
            # What the user's configuration may add for terminals and tunnels has no place here.
            "ClearAllForwardings=yes",
            "PermitLocalCommand=no",
            "RemoteCommand=none",
            "ForkAfterAuthentication=no",
            "StdinNull=no",
            "EscapeChar=none",
            "VisualHostKey=no",
            # An own connection, whose end is noticed, and whose host key was checked against Easel's list.
            "ControlMaster=no",
            "ControlPath=none",
            "LogLevel=ERROR",
        ):
            options += ["-o", option]
        if self.config is not None:
            options += ["-F", str(self.config.absolute())]
        if self.identity is not None:
            options += ["-o", "IdentitiesOnly=yes", "-i", str(self.identity.absolute())]
        if self.port:
            options += ["-p", str(self.port)]
        if self.user:
            options += ["-l", self.user]
        return options


def known_hosts() -> Path:
    """The list of the host keys that Easel has seen; those that the user's own list has count as well."""
    return places.home() / "ssh" / "known_hosts"


def _escaped(path: Path) -> str:
    """The path as a value in ssh's configuration, where % and ${ have a meaning.

    Raises:
        JobError: it cannot be written there.
    """
    text = str(path)
    if '"' in text or "\\" in text or "${" in text or not text.isprintable():
        raise JobError(f"ssh cannot use {path}.", 'Set EASEL_HOME to a folder without ", \\ and ${ in its path.')
    return '"' + text.replace("%", "%%") + '"'
