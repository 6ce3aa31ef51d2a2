"""Why ssh did not reach a machine, from its exit code and what it printed, as a sentence."""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

from trainer_core.errors import JobError
from trainer_core.jobs.hosts.machine import Machine, known_hosts
from trainer_core.text import printable

SSH_FAILED = 255
"""The exit code of ssh if there was no connection, or if it broke. Source: OpenSSH, ssh(1), EXIT STATUS."""


class MachineError(JobError):
    """A machine that cannot be reached by ssh, or that lacks what a job needs.

    `kind` is one word for the cause: "ssh", "unknown", "refused", "unreachable", "denied", "changed", "cut", "slow", "easel",
    "python", "version", "broken".
    """

    def __init__(self, message: str, hint: str = "", kind: str = "broken") -> None:
        super().__init__(message, hint)
        self.kind = kind

    @property
    def is_passing(self) -> bool:
        """Whether a new connection may help at once."""
        return self.kind == "cut"


class _Cause(NamedTuple):
    kind: str
    pattern: str
    message: str
    hint: str


_CHECK = "See what it has with `easel remote machine check {machine}`."
_CAUSES = (
    _Cause(
        "changed",
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed|is marked as revoked",
        "The host key of {machine} is not the one that is known, so Easel did not connect.",
        "If you know that the machine was installed again, {remove}. Otherwise another machine may pretend to be it: ask who runs it.",
    ),
    _Cause(
        "unknown",
        r"Could not resolve hostname",
        "There is no machine {machine}: its name cannot be found.",
        "Check the name, your network, and your ssh configuration.",
    ),
    _Cause(
        "denied",
        r"bad permissions|UNPROTECTED PRIVATE KEY",
        "{machine} was not given your key, because others can read the file of the key.",
        "Run: chmod 600 on the file of the key.",
    ),
    _Cause(
        "denied",
        r"Permission denied|Too many authentication failures|No more authentication methods",
        "{machine} does not accept your key.",
        "Easel asks for no password. Add your public key there (ssh-copy-id), load a key with a passphrase with ssh-add, or keep the file of a key: easel remote machine save NAME ADDRESS --identity FILE.",
    ),
    _Cause(
        "refused",
        r"Connection refused",
        "Nothing answers at the ssh port of {machine}.",
        "Check that the machine runs, and its port: user@host:port.",
    ),
    _Cause(
        "unreachable",
        r"timed out|No route to host|Network is unreachable|Connection to \S+ port \d+ aborted",
        "{machine} cannot be reached.",
        "Check that it runs, your network, and whether a firewall is in between.",
    ),
    _Cause(
        "ssh",
        r"Bad configuration option|bad configuration options|Can't open user config file|Bad owner or permissions on",
        "ssh cannot use its configuration: {line}",
        "Correct it, and try: ssh {machine}",
    ),
    _Cause(
        "cut",
        r"closed by|Connection reset|Broken pipe|not responding|kex_exchange_identification|Connection closed|client_loop",
        "The connection to {machine} was cut.",
        "What runs there goes on. Try again.",
    ),
)
_OFFENDING = re.compile(r"Offending .*key in (.+):\d+\s*$", re.MULTILINE)
_CHANGED = re.compile(r"[Hh]ost key for (\S+) has changed")


def failure(machine: Machine, code: int | None, said: str, *, is_open: bool) -> MachineError:
    """Why a program on the machine ended with this exit code (None: it did not) after ssh printed this.

    `is_open` says whether the program had answered before.
    """
    line = next((line for line in reversed(said.splitlines()) if line.strip()), "")
    names = {"machine": str(machine), "line": printable(line.strip(), 300), "remove": _removal(machine, said)}
    if code == SSH_FAILED or code is None or code < 0:
        found = next((cause for cause in _CAUSES if re.search(cause.pattern, said)), None)
        if found is not None:
            return MachineError(found.message.format(**names), found.hint.format(**names), found.kind)
        if is_open or not line:
            return MachineError(
                f"The connection to {machine} was cut.", "What runs there goes on. Try again.", kind="cut"
            )
        return MachineError(f"ssh cannot connect to {machine}: {names['line']}", f"Try: ssh {machine}", "ssh")
    if is_open:
        # Ended there, as by its administrator, or without memory.
        return MachineError(f"Easel on {machine} has ended ({code}). {names['line']}".strip(), "Try again.", "cut")
    check = _CHECK.format(machine=machine)
    if re.search(r"No module named '?trainer_core", said):
        return MachineError(
            f"The Python in {machine.easel} on {machine} has no Easel.", f"Install it there. {check}", "easel"
        )
    if code in (126, 127) or "No such file" in said:
        hint = f"Install Easel there, or name its folder with --easel. {check}"
        return MachineError(f"There is no Easel in {machine.easel} on {machine}.", hint, "easel")
    return MachineError(f"Easel on {machine} does not start ({code}): {names['line']}", check, "easel")


def _removal(machine: Machine, said: str) -> str:
    """What removes the old key of a machine."""
    where, name = _OFFENDING.search(said), _CHANGED.search(said)
    host = name[1] if name else f"[{machine.host}]:{machine.port}" if machine.port else machine.host
    path = where[1].strip() if where else str(known_hosts())
    return printable(f"remove its old key: ssh-keygen -R {shlex.quote(host)} -f {shlex.quote(path)}", 400)
