"""The findings as text, the worst first, and as a report without private data."""

from __future__ import annotations

import contextlib
import getpass
import ipaddress
import re
import socket
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal

from trainer_core import __version__, places
from trainer_core.doctor import private_paths
from trainer_core.doctor.finding import CONCLUSION, STATES, Finding, State
from trainer_core.training.redaction import HOME, HOST, Private, Redactor

HEADINGS: dict[State, str] = {
    "problem": "Problems",
    "notice": "Worth knowing",
    "unknown": "Not found out",
    "good": "In order",
}
READ_FIRST = "Easel replaced what it knows to be private. It cannot know everything: read this before you post it."
# What may be an address: groups of digits with dots, or of hexadecimal digits with colons; `ipaddress` decides.
_NUMBERS = re.compile(
    r"(?<![\w.:-])\[?(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f.]{0,15}(?:%\w+)?\]?|(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)"
)
_HARDWARE = re.compile(r"\b[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}\b|\b(?:GPU|MIG)-[0-9A-Za-z/-]{4,80}")
_SITE = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]{1,20}://)(?P<host>[^/\s\"'<>)\],;]+)", re.IGNORECASE)
_PUBLIC = frozenset({"huggingface.co", "civitai.com", "localhost"})
"""Sites whose name tells nothing about the user."""


def lines(findings: Sequence[Finding], *, brief: bool = False) -> Iterator[tuple[str, State | Literal["heading"]]]:
    """Each line of the report with the state of its finding: the conclusion, then the findings by their state, the worst first.

    `brief` shortens what is in order to one line each.
    """
    for each in findings:
        if each.id == CONCLUSION:
            yield from _lines(each, each.found, is_whole=True)
    for state in STATES:
        of_state = [each for each in findings if each.state == state and each.id != CONCLUSION]
        if of_state:
            yield "", "heading"
            yield HEADINGS[state], "heading"
        for each in of_state:
            yield from _lines(each, f"{each.title}: {each.found}", is_whole=state != "good" or not brief)


def _lines(finding: Finding, first: str, *, is_whole: bool) -> Iterator[tuple[str, State]]:
    yield first, finding.state
    if is_whole and finding.means:
        yield f"    means: {finding.means}", "good"
    if is_whole and finding.fix:
        yield f"    fix: {finding.fix}", "good"


def heading() -> str:
    """The first line of a report."""
    return f"Easel {__version__}: what `easel doctor` found"


def text(findings: Sequence[Finding]) -> str:
    """The whole report as plain text, as it is shown on this machine."""
    return "\n".join([heading(), *(line for line, _ in lines(findings))]) + "\n"


def shareable(findings: Sequence[Finding], private: Private | None = None) -> str:
    """The report to give to others: without names of people and machines, home folders, tokens and addresses."""
    private, folders = private or _private(), _own_folders()
    known = [*folders, *((home, "~") for home in private.homes)]
    named = {each for finding in findings for each in finding.private if len(each) > 1}
    shown = [(each, private_paths.kind(each, known) if each.startswith("/") else HOST) for each in named]
    return redacted(f"{text(findings)}\n{READ_FIRST}\n", private, [*folders, *shown])


def redacted(said: str, private: Private, folders: Collection[tuple[str, str]] = ()) -> str:
    """The text without private data. `folders` are paths with what replaces them, such as ("/mnt/x/easel", "<easel>")."""
    redactor = Redactor(private)
    redactor.learn(said)
    homes = [(home, "~") for home in private.homes if len(home) > 1]
    for path, shown in sorted([*folders, *homes], key=lambda each: -len(each[0])):
        said = re.sub(rf"(?<![\w-]){re.escape(path)}(?![\w-]|\.\w)", lambda _, shown=shown: shown, said)
    said = private_paths.reduced(said)
    said = _HARDWARE.sub("<id>", said)
    said = _NUMBERS.sub(_without_address, said)
    said = _SITE.sub(_without_site, said)
    return redactor.text(said).replace(HOME, "~")


def _without_address(found: re.Match[str]) -> str:
    bare = found[0].rstrip(".")
    try:
        ipaddress.ip_address(bare.strip("[]").partition("%")[0])
    except ValueError:
        return found[0]
    return "<address>" + found[0][len(bare) :]


def _without_site(found: re.Match[str]) -> str:
    host = found["host"].rpartition("@")[2]
    name, _, port = host.partition(":")
    shown = host if name.lower() in _PUBLIC and (not port or port.isdigit()) else HOST
    return f"{found['scheme']}{shown}"


def _private() -> Private:
    users = {Path.home().name}
    # Without a name for this user in the system, only that of the home folder is known.
    with contextlib.suppress(KeyError, OSError, ImportError):
        users.add(getpass.getuser())
    full = socket.gethostname()
    return Private(users=users, hosts={full, full.partition(".")[0]}, homes={str(Path.home())})


def _own_folders() -> list[tuple[str, str]]:
    return [(str(places.home()), "<easel>"), (str(places.CHECKOUT), "<checkout>")]
