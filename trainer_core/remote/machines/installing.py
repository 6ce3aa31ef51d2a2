"""Brings this Easel onto a machine that ssh reaches: sends its files, and runs its installer there.

The machine needs a POSIX shell, tar and gzip; no git and no rsync. Each step can be repeated: what has arrived is not sent again, and
an installer that still runs there is followed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer_core import __version__
from trainer_core.errors import JobError, wrong_use
from trainer_core.jobs.hosts.machine import Machine
from trainer_core.jobs.hosts.questions import Questions
from trainer_core.jobs.hosts.ssh_connection import run
from trainer_core.jobs.hosts.ssh_failure import MachineError
from trainer_core.remote.machines.packing import Archive, pack
from trainer_core.text import printable, size

Say = Callable[[str], None]

PIECE_BYTES = 1 << 20
LIMIT_S = 120.0
LONGEST_S = 3600.0
"""A set-up that takes longer is given up; it goes on there."""
NEEDED_BYTES = 2 << 30
"""The installer needs 1.5 GiB; see `trainer_core.install.suite`."""
PATIENCE_S = 120.0
"""For so long a connection that was cut is tried again while Easel is set up there."""
ATTEMPTS = 3
"""How often a question is asked when the connection is cut."""
_WAIT_S = 2.0
_PRINTED_BYTES = 256 << 10
_LONGEST = 300
_KINDS = {
    "git": (
        "The Easel in {folder} on {machine} is a checkout of git, so its files are not replaced.",
        "Update it there (git pull, then python3 installer.py), or name another folder with --easel.",
    ),
    "other": (
        "The folder {folder} on {machine} is not empty, and it was not made by this command. Nothing was changed in it.",
        "Name another folder with --easel, or look what is in it.",
    ),
}


@dataclass(frozen=True)
class Installed:
    """What an installation did: the bytes that were sent, whether anything changed, and the version there."""

    sent_bytes: int
    is_changed: bool
    version: str


def version_there(machine: Machine, limit_s: float = LIMIT_S) -> str:
    """The version of the Easel on a machine; "" if there is none.

    Raises:
        MachineError: the machine cannot be reached, or its Easel has other messages.
    """
    questions = Questions(machine, limit_s)
    try:
        return questions.version
    except MachineError as error:
        if error.kind != "easel":
            raise
        return ""
    finally:
        questions.close()


def differs(machine: Machine, version: str) -> str:
    """A sentence about another version there; "" if it is the same."""
    if version in ("", __version__):
        return ""
    return f"Easel is {version} on {machine} and {__version__} here. Bring it to the same version with: easel remote machine install {machine}"


def install(machine: Machine, say: Say, archive: Archive | None = None) -> Installed:
    """Brings this Easel onto the machine. Jobs that run there go on.

    Raises:
        MachineError: the machine cannot be reached, or the connection was cut while files were sent.
        JobError: its folder is not Easel's to change, something is missing there, or the installer failed.
    """
    if machine.easel in (".", "/"):
        raise wrong_use(JobError("Easel needs a folder of its own there.", "Name one with --easel."))
    archive = archive or pack()
    seen = _look(machine, archive)
    _check(machine, seen)
    sent = 0
    is_new = seen.get("sent") != archive.sha256
    if is_new:
        sent = _send(machine, archive, say, int(seen.get("part", "0")))
    else:
        say(f"The files of Easel {__version__} are on {machine} already.")
    _set_up(machine, say)
    found = version_there(machine)
    if found != __version__:
        raise JobError(
            f"Easel on {machine} does not answer after its installation{f', or as version {found}' if found else ''}.",
            f"See what it has with: easel remote machine check {machine}",
        )
    say(f"Easel {found} is ready on {machine}.")
    return Installed(sent, is_new, found)


def _look(machine: Machine, archive: Archive) -> Mapping[str, str]:
    return _ask(machine, "look", archive.sha256)


def _check(machine: Machine, seen: Mapping[str, str]) -> None:
    """Raises JobError if nothing can be installed there."""
    if told := _KINDS.get(seen.get("kind", "")):
        raise JobError(*(text.format(folder=machine.easel, machine=machine) for text in told))
    if where := seen.get("read_only"):
        raise JobError(f"The user may not write to {where} on {machine}.", "Name another folder with --easel.")
    if lacking := seen.get("lacks"):
        raise JobError(f"{machine} has no {lacking}, which unpacks Easel.", f"Install {lacking} there.")
    free = int(seen.get("disk_kib", "0")) << 10
    if "disk_kib" in seen and "python" not in seen and free < NEEDED_BYTES:
        raise JobError(
            f"Easel needs {size(NEEDED_BYTES)} in {machine.easel} on {machine}, where {size(free)} are free.",
            "Delete files there, or name a folder on another disk with --easel.",
        )


def _send(machine: Machine, archive: Archive, say: Say, there: int) -> int:
    """Sends what is missing of the archive and unpacks it; returns how many bytes were sent."""
    whole = archive.content
    if there > len(whole):
        there = 0
    say(f"Sending {archive.files} files of Easel {__version__} ({size(len(whole) - there)}) to {machine}.")
    sent = 0
    for start in range(there, len(whole), PIECE_BYTES):
        piece = whole[start : start + PIECE_BYTES]
        # A piece replaces what an earlier connection may still have added after the place where it begins.
        script = 'umask 077; mkdir -p "$1" && cd "$1" && { [ -f "$2" ] || : > "$2"; } && head -c "$3" "$2" > "$2.new" && cat >> "$2.new" && mv "$2.new" "$2"'
        words = ("sh", "-c", script, "sh", f"{machine.folder}.incoming", f"{archive.sha256}.tar.gz", str(start))
        _repeated(lambda words=words, piece=piece: run(machine, words, piece, LIMIT_S, _PRINTED_BYTES))
        sent += len(piece)
        say(f"Sent {size(start + len(piece))} of {size(len(whole))}.")
    failed = _ask(machine, "unpack", archive.sha256).get("failed", "")
    if failed == "hash":
        raise MachineError(f"What arrived on {machine} is damaged, and was removed there.", "Try again.", "cut")
    if failed:
        reason = failed.partition(" ")[2]
        raise JobError(
            f"Easel cannot be unpacked on {machine}: {reason}.", "Check its free disk space and permissions."
        )
    return sent


def _set_up(machine: Machine, say: Say) -> None:
    """Runs the installer there and shows what it says."""
    failed = _ask(machine, "setup", "0").get("failed", "")
    if failed == "python":
        raise JobError(
            f"There is no Python 3.8 or newer on {machine}, and no uv that could fetch one, so the installer cannot run.",
            "Install Python there (such as with: apt install python3.11) or uv, and run this again.",
        )
    if failed:
        raise JobError(f"The installer cannot be started on {machine}: {failed}.", "Check its free disk space.")
    ended, last = _watched(machine, say)
    if ended == "gone":
        raise JobError(f"The installer on {machine} was ended from outside.", "Run this again.")
    if ended != "0":
        raise JobError(f"The installer on {machine} failed ({ended}): {last}", "Correct this there and run this again.")


def _watched(machine: Machine, say: Say) -> tuple[str, str]:
    """How the installer there ended, and its last two lines, which are its error and advice; what it says is shown."""
    offset, rest = 0, b""
    last: list[str] = []
    deadline = time.monotonic() + LONGEST_S
    while True:
        ended, found = _following(machine, offset)
        offset += len(found)
        *lines, rest = (rest + found).split(b"\n")
        # What is left of the output is fetched before its end counts.
        is_over = bool(ended) and not found
        for line in [*lines, rest] if is_over else lines:
            if text := printable(line.decode("utf-8", "replace").rstrip(), _LONGEST):
                last = [*last[-1:], text]
                # What its user would do next is not what the user of another machine does.
                if not text.startswith("Next: "):
                    say(f"  {text}")
        if is_over:
            return ended, " ".join(last) or "no output"
        if time.monotonic() > deadline:
            raise JobError(f"The installer on {machine} has not ended yet.", "It goes on there: run this again later.")


def _following(machine: Machine, offset: int) -> tuple[str, bytes]:
    """How the installer ended ("" if it runs), and what it said from `offset` on. A cut connection is opened again."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            raw = run(machine, _words(machine, "follow", str(offset)), _script(), LIMIT_S, _PRINTED_BYTES)
        except MachineError as error:
            if error.kind not in ("cut", "slow", "refused", "unreachable") or time.monotonic() > deadline:
                raise
            time.sleep(_WAIT_S)
            continue
        head, mark, found = raw.partition(b"easel-install 1\n")[2].partition(b"log\n")
        if not mark:
            raise MachineError(f"{machine} did not say what its installer does.", "Try again.")
        return head.decode("utf-8", "replace").partition("ended ")[2].strip(), found


def _ask(machine: Machine, what: str, value: str) -> dict[str, str]:
    printed = _repeated(lambda: run(machine, _words(machine, what, value), _script(), LIMIT_S, _PRINTED_BYTES))
    told = printed.decode("utf-8", "replace").partition("easel-install 1\n")[2]
    found: dict[str, str] = {}
    for line in told.splitlines():
        name, _, said = line.partition(" ")
        found[name] = printable(said.strip(), _LONGEST)
    for name in ("part", "disk_kib"):
        if not found.get(name, "0").isdecimal():
            found[name] = "0"
    if "end" not in found:
        raise MachineError(f"{machine} did not say what it did.", "Easel needs a POSIX shell, sh, there.", "broken")
    return found


def _repeated(ask: Callable[[], bytes]) -> bytes:
    """The answer, asked for again when the connection was cut: each question of an installation means the same twice."""
    for _ in range(ATTEMPTS - 1):
        try:
            return ask()
        except MachineError as error:
            if not error.is_passing:
                raise
            time.sleep(_WAIT_S / 2)
    return ask()


def _words(machine: Machine, what: str, value: str) -> tuple[str, ...]:
    return ("sh", "-s", "--", what, machine.folder, value)


def _script() -> bytes:
    return Path(__file__).with_name("receive.sh").read_bytes()
