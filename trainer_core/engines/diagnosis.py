"""Explains why a run failed, by matching tables of signatures with the end of its log.

A log is untrusted text: long lines are cut before a pattern is matched, and quoted lines are shown as plain text. A wrong cause
is worse than none, so only what ended the engine counts (trainer_core.engines.log_end), and certain causes come before likely ones.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from trainer_core.engines import log_end
from trainer_core.errors import BackendError
from trainer_core.files import from_table, read_toml
from trainer_core.jobs.outcome import KILLS, Diagnosis, by_signal
from trainer_core.text import printable, without_secrets

UNKNOWN = "unknown"
COMMON = Path(__file__).with_name("causes.toml")
"""The signatures of the software that all engines use: torch, the Hugging Face Hub, the operating system."""

_EXCEPTION = re.compile(
    r"^(?:\[[^\]]{0,40}\]:? )?(?:[A-Za-z_]\w{0,80}\.){0,8}[A-Z]\w{0,80}(?:Error|Exception|Interrupt|Exit)\b"
)
_ERROR = re.compile(r"\b(?:ERROR|CRITICAL|[Ee]rror:)")
_PASSING = re.compile(r"^.{0,80}?(?:\b(?:DEBUG|WARNING)\b|\w+Warning: )")
"""A line whose level shows that the engine continues."""
_INFORMING = re.compile(r"^.{0,80}?\bINFO\b")
_EXPLAINING = frozenset({"fatal", "error"})


@dataclass(frozen=True)
class Signature:
    """One table of a `diagnosis.toml`: a regular expression, and the cause and advice for a line that it matches.

    Attributes:
        severity: "fatal" ends the run, "error" spoils its result, "warning" lets it continue.
        frames: A regular expression that the frames of the traceback must match too, to distinguish saving from loading.
        decisive: Whether this cause is certain anywhere in the end of the log, so that it takes precedence over others.
    """

    id: str
    pattern: str
    cause: str
    advice: str
    severity: Literal["fatal", "error", "warning"] = "fatal"
    frames: str = ""
    decisive: bool = False


@dataclass(frozen=True)
class _Table:
    signature: tuple[Signature, ...] = ()


def load(path: Path, engine: str, hint: str = "") -> tuple[Signature, ...]:
    """An engine's own signatures, if it has a file with them, followed by the common ones.

    An engine's signature replaces the common one with its id. `{engine}` in an advice is the engine's id.

    Raises:
        BackendError: a file cannot be used.
    """
    own = _read(path, hint) if path.is_file() else ()
    known = {row.id for row in own}
    every = (*own, *(row for row in _common() if row.id not in known))
    return tuple(replace(row, advice=row.advice.replace("{engine}", engine)) for row in every)


def _read(path: Path, hint: str) -> tuple[Signature, ...]:
    return from_table(_Table, read_toml(path, BackendError, hint), str(path), BackendError, hint).signature


@functools.cache
def _common() -> tuple[Signature, ...]:
    return _read(COMMON, "Install Easel again.")


def explain(lines: Sequence[str], signatures: Sequence[Signature], exit_code: int | None) -> Diagnosis | None:
    """The diagnosis of a program with this log and `exit_code` (negative for a signal); None if nothing went wrong.

    Without an `exit_code` only the log can show that something went wrong. The order of precedence: decisive signatures, a
    signal that killed the program, the last error in the log, a signal with which the program crashed.
    """
    end = log_end.read(lines)
    told = end.exit_code is not None and not by_signal(exit_code)
    code, words = (end.exit_code, quoted(end.report)) if told else (exit_code, "")
    telling = [row for row in signatures if row.severity in _EXPLAINING]
    certain, likely = ([row for row in telling if row.decisive is decisive] for decisive in (True, False))
    found = _match((line for line in end.lines if not _INFORMING.match(line)), end.frames, certain)
    if found is None and code is not None and (killed := by_signal(code, only=KILLS)):
        return replace(killed, line=words)
    found = found or _match(end.error, end.frames, likely)
    if found or exit_code == 0:
        return found
    if exit_code is None and not end.failed:
        return None
    crashed = by_signal(code)
    return replace(crashed, line=words) if crashed else _by_exception(end.error, code)


def is_certain(found: Diagnosis | None, signatures: Iterable[Signature]) -> bool:
    """Whether a diagnosis is certain: from a decisive signature, or a signal that killed the program."""
    if found is None:
        return False
    kills = {killed.id for number in KILLS if (killed := by_signal(-number))}
    return found.id in kills | {row.id for row in signatures if row.decisive}


def quoted(line: str) -> str:
    """A line of a log that is safe to show, without tokens: one line of text, with limited length."""
    return printable(without_secrets(line.strip()), 500)


def _match(lines: Iterable[str], frames: str, signatures: Sequence[Signature]) -> Diagnosis | None:
    """The diagnosis of the last line that matches a signature: the error that stopped the engine comes last."""
    rows = [row for row in signatures if not row.frames or re.search(row.frames, frames)]
    for line in reversed([line for line in lines if not _PASSING.match(line)]):
        for row in rows:
            if re.search(row.pattern, line):
                return Diagnosis(row.id, row.cause, quoted(line), row.advice)
    return None


def _by_exception(lines: Sequence[str], exit_code: int | None) -> Diagnosis:
    line = next((line for line in reversed(lines) if _EXCEPTION.match(line)), "")
    line = line or next((line for line in reversed(lines) if _ERROR.search(line)), "")
    line = line or next(reversed(lines), "")
    code = "" if exit_code is None else f" (exit code {exit_code})"
    cause = f"The engine stopped with an error that Easel does not know{code}."
    return Diagnosis(UNKNOWN, cause, quoted(line), "Read the engine's log, engine.log in the run folder.")
