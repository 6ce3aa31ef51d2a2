"""Explains why a run failed, by matching tables of signatures with the end of its log.

A log is untrusted text: long lines are cut before a pattern is matched, and quoted lines are shown as plain text. A wrong cause
is worse than none, so only what ended the engine counts (trainer_core.engines.log_end), and certain causes come before likely ones.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from trainer_core.engines import log_end
from trainer_core.engines.log_lines import EXCEPTION, Line, sorted_lines
from trainer_core.errors import BackendError
from trainer_core.files import from_table, read_toml
from trainer_core.jobs.outcome import KILLS, Diagnosis, by_signal
from trainer_core.text import printable, without_escapes, without_secrets

UNKNOWN = "unknown"
COMMON = Path(__file__).with_name("causes.toml")
"""The signatures of the libraries that all engines use: torch, the Hugging Face Hub, the packages of Python."""
SYSTEM = Path(__file__).with_name("system_causes.toml")
"""The signatures that apply to every program: memory, disks, files, the network, interruptions."""

_EXPLAINING = frozenset({"fatal", "error"})
_BAR = re.compile(r"\d{1,3}%\|")
"""A progress bar, also one that is cut."""
_UNMARKED = frozenset({"error", "told", "plain"})


@dataclass(frozen=True)
class Amendment:
    """A change of the plan that may help: the new `value` of the setting at `path`, or its value `times` a factor.

    `title` says what the change does; by default it is the setting's title and the value. `keeps_images`: the gradient
    accumulation changes with the batch size, so that a step has the same number of images.
    """

    path: str
    value: Any = None
    times: float | None = None
    title: str = ""
    keeps_images: bool = False


@dataclass(frozen=True)
class Signature:
    """One table of a `diagnosis.toml`: a regular expression, and the cause and advice for a line that it matches.

    Attributes:
        plain: A regular expression for the beginning of lines without a level, which programs write as they crash.
        severity: "fatal" ends the run, "error" spoils its result, "warning" lets it continue.
        frames: A regular expression that the frames of the traceback must match too, to distinguish saving from loading.
        decisive: Whether this cause is certain anywhere in the end of the log, so that it takes precedence over others.
        root: Whether this cause explains the other errors of its traceback, so that it takes precedence over those.
        where: The lines that are compared. "error": errors and, from their beginning, the lines of their messages; "bar": progress bars; "info": messages that are not errors.
        fixes: Changes of the plan that may help. Each is checked before it is offered.
        lowers: What a fix must lower in the estimate: memory of the GPU, or system RAM.
    """

    id: str
    pattern: str
    cause: str
    advice: str
    plain: str = ""
    severity: Literal["fatal", "error", "warning"] = "fatal"
    frames: str = ""
    decisive: bool = False
    root: bool = False
    where: Literal["error", "bar", "info"] = "error"
    fixes: tuple[Amendment, ...] = ()
    lowers: Literal["", "gpu", "ram"] = ""


@dataclass(frozen=True)
class _Table:
    signature: tuple[Signature, ...] = ()
    fixes: Mapping[str, tuple[Amendment, ...]] = field(default_factory=dict)


def load(path: Path, engine: str, hint: str = "") -> tuple[Signature, ...]:
    """An engine's own signatures, if it has a file with them, followed by those of its libraries and of the system.

    An engine's signature replaces the common one with its id. `{engine}` in an advice is the engine's id.

    Raises:
        BackendError: a file cannot be used.
    """
    return _joined(_own(path, hint), _common(COMMON), _common(SYSTEM), engine=engine)


def for_programs(path: Path | None = None, hint: str = "", *, engine: str = "") -> tuple[Signature, ...]:
    """The signatures for a job that is no training: those in its kind's own file, if there is one, and those of the system.

    `engine` is the id of the engine that an installation is for.

    Raises:
        BackendError: a file cannot be used.
    """
    return _joined(_own(path, hint) if path else (), _common(SYSTEM), engine=engine)


def _joined(*tables: tuple[Signature, ...], engine: str) -> tuple[Signature, ...]:
    """The signatures of the tables in turn; the first one with an id counts."""
    found: dict[str, Signature] = {}
    for row in (row for table in tables for row in table):
        found.setdefault(row.id, row)
    return tuple(replace(row, advice=row.advice.replace("{engine}", engine or "<engine>")) for row in found.values())


def _own(path: Path, hint: str) -> tuple[Signature, ...]:
    return read_table(path, hint) if path.is_file() else ()


def read_table(path: Path, hint: str = "") -> tuple[Signature, ...]:
    """The signatures in one file, in its order.

    Raises:
        BackendError: it cannot be used.
    """
    return from_table(_Table, read_toml(path, BackendError, hint), str(path), BackendError, hint).signature


@functools.cache
def _common(path: Path) -> tuple[Signature, ...]:
    return read_table(path, "Install Easel again.")


def explain(
    lines: Sequence[str], signatures: Sequence[Signature], exit_code: int | None, *, is_cut: bool = False
) -> Diagnosis | None:
    """The diagnosis of a program with this log and `exit_code` (negative for a signal); None if nothing went wrong.

    `is_cut`: the log ends in the middle of its last line, which is then quoted only if no whole line shows the same.
    Without an `exit_code` only the log can show that something went wrong. The order of precedence: decisive signatures, a
    signal that killed the program, the last error in the log, a signal with which the program crashed.
    """
    found = _explained(lines, signatures, exit_code)
    if not is_cut or found is None or not lines or found.line not in quoted(lines[-1]):
        return found
    whole = _explained(lines[:-1], signatures, exit_code)
    return whole if whole is not None and whole.line and found.id in (whole.id, UNKNOWN) else found


def _explained(lines: Sequence[str], signatures: Sequence[Signature], exit_code: int | None) -> Diagnosis | None:
    end = log_end.read(lines)
    told = end.exit_code is not None and not by_signal(exit_code)
    code, words = (end.exit_code, quoted(end.report)) if told else (exit_code, "")
    telling = [row for row in signatures if row.severity in _EXPLAINING]
    certain, likely = ([row for row in telling if row.decisive is decisive] for decisive in (True, False))
    everything = _sorted(end.before, end.messages)
    error = _sorted((), end.error) if end.error else everything
    found = _match(everything, end.frames, certain)
    if found is None and code is not None and (killed := by_signal(code, only=KILLS)):
        return replace(killed, line=words)
    found = found or _match(error, end.frames, [row for row in likely if row.root]) or _match(error, end.frames, likely)
    if found or exit_code == 0:
        return found
    if exit_code is None and not end.failed:
        return None
    crashed = by_signal(code)
    return replace(crashed, line=words) if crashed else _by_exception(error, code)


def noticed(lines: Sequence[str], signatures: Sequence[Signature]) -> list[Diagnosis]:
    """What a log tells that did not end the engine, such as images without a caption; each cause once."""
    rows = [row for row in signatures if row.severity == "warning"]
    found: dict[str, Diagnosis] = {}
    for line in sorted_lines(log_end.cleaned(lines)):
        for row in rows:
            matches = _from_start(row.pattern).match if line.kind == "plain" else _anywhere(row.pattern).search
            if line.kind != "bar" and matches(line.text):
                found.setdefault(row.id, Diagnosis(row.id, row.cause, quoted(line.whole), row.advice))
    return list(found.values())


def amendments(found: Diagnosis, signatures: Iterable[Signature]) -> tuple[tuple[Amendment, ...], str]:
    """The changes that may help against a cause, and what they must lower in the estimate.

    For a cause that Easel itself found, such as NaN in the output, they are in the table `fixes` of causes.toml.
    """
    for row in signatures:
        if row.id == found.id:
            return row.fixes, row.lowers
    table = from_table(_Table, read_toml(COMMON, BackendError), str(COMMON), BackendError)
    return table.fixes.get(found.id, ()), ""


def is_certain(found: Diagnosis | None, signatures: Iterable[Signature]) -> bool:
    """Whether a diagnosis is certain: from a decisive signature, or a signal that killed the program."""
    if found is None:
        return False
    kills = {killed.id for number in KILLS if (killed := by_signal(-number))}
    return found.id in kills | {row.id for row in signatures if row.decisive}


def quoted(line: str) -> str:
    """A line of a log that is safe to show, without tokens: one line of text, with limited length."""
    return printable(without_secrets(without_escapes(line).strip()), 500)


def _sorted(before: Sequence[str], messages: Iterable[Sequence[str]]) -> list[Line]:
    """The lines before the first traceback, and those after each one, with their kinds."""
    after = (line for says in messages for line in sorted_lines(says, after_traceback=True))
    return [*sorted_lines(before), *after]


def _match(lines: Sequence[Line], frames: str, signatures: Sequence[Signature]) -> Diagnosis | None:
    """The diagnosis of the last line that matches a signature: the error that stopped the engine comes last."""
    rows = [row for row in signatures if not row.frames or _anywhere(row.frames).search(frames)]
    for line in reversed(lines):
        for row in rows:
            if _fits(row, line):
                return Diagnosis(row.id, row.cause, quoted(line.whole), row.advice)
    return None


def _fits(row: Signature, line: Line) -> bool:
    """Whether a line is of the kind that a signature is for, and matches it."""
    if row.plain and line.kind in _UNMARKED and _from_start(row.plain).match(line.text):
        return True
    if line.kind == "told":
        return bool(_from_start(row.pattern).match(line.text))
    return line.kind in ("error", row.where) and bool(_anywhere(row.pattern).search(line.text))


# The module re keeps only 512 patterns.
@functools.cache
def _anywhere(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@functools.cache
def _from_start(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"\s*(?:{pattern})")


def _by_exception(lines: Sequence[Line], exit_code: int | None) -> Diagnosis:
    line = next((line.whole for line in reversed(lines) if EXCEPTION.match(line.whole)), "")
    line = line or next((line.whole for line in reversed(lines) if line.kind == "error"), "")
    # A progress bar says how far the engine came, and not why it stopped.
    line = line or next(
        (line.whole for line in reversed(lines) if line.kind != "bar" and not _BAR.search(line.whole)), ""
    )
    code = "" if exit_code is None else f" (exit code {exit_code})"
    cause = f"The engine stopped with an error that Easel does not know{code}."
    return Diagnosis(UNKNOWN, cause, quoted(line), "Read the engine's log, engine.log in the run folder.")
