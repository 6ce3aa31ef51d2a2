"""Why a run failed, in a sentence: an engine's table of signatures held against its log.

A log is outside text: lines are bounded before any pattern sees them, and what is quoted from them stays text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer_core.text import printable, without_escapes

_LINE_LIMIT = 2000
_BLOCK_LIMIT = 16_000
_TRACEBACK = "Traceback (most recent call last):"
# accelerate's launcher adds a traceback of its own to any failure of the trainer.
_LAUNCHER = re.compile(r"subprocess\.CalledProcessError: Command ")
_EXCEPTION = re.compile(
    r"^(?:\[[^\]]{0,40}\]:? )?(?:[A-Za-z_]\w{0,80}\.){0,8}[A-Z]\w{0,80}(?:Error|Exception|Interrupt|Exit)\b"
)
_ERROR = re.compile(r"\b(?:ERROR|CRITICAL|[Ee]rror:)")
_EXPLAINING = frozenset({"fatal", "error"})

_SIGNALS = {
    9: (
        "out-of-memory",
        "The system killed the engine, most likely because the machine ran out of memory.",
        "Close other programs, use a batch size of 1, cache latents, or use a machine with more memory.",
    ),
    11: (
        "crash",
        "The engine crashed inside a library or a driver.",
        "Check the engine with: easel backends verify. An update of the graphics driver often helps.",
    ),
    6: (
        "abort",
        "A library inside the engine gave up.",
        "The lines before the end of the log say which one. Check the engine with: easel backends verify.",
    ),
    7: (
        "bus-error",
        "The engine ran out of shared memory or disk.",
        "Free disk space, or give the container more shared memory.",
    ),
    15: ("ended-from-outside", "Something outside Easel told the engine to end.", "Start the run again."),
    2: ("ended-from-outside", "Something outside Easel interrupted the engine.", "Start the run again."),
}


@dataclass(frozen=True)
class Diagnosis:
    """Why a run failed: the cause in a sentence, the line of the log that says so, and what to do about it."""

    id: str
    cause: str
    line: str
    advice: str


def explain(lines: Sequence[str], signatures: Sequence[Mapping[str, str]], exit_code: int | None) -> Diagnosis | None:
    """The diagnosis of a log that ended with `exit_code` (negative for a signal); None when nothing is wrong in it."""
    clean = _without_launcher([without_escapes(line[:_LINE_LIMIT]).rstrip() for line in lines])
    telling = [row for row in signatures if row.get("severity", "fatal") in _EXPLAINING]
    found = _by_line(clean, telling) or _by_block(clean, telling)
    if found or exit_code == 0:
        return found
    return by_signal(exit_code) or _by_exception(clean, exit_code)


def by_signal(exit_code: int | None) -> Diagnosis | None:
    """The diagnosis of a process that a signal ended; a shell reports signal n as 128 + n."""
    if exit_code is None:
        return None
    number = -exit_code if exit_code < 0 else exit_code - 128
    if number not in _SIGNALS:
        return None
    name, cause, advice = _SIGNALS[number]
    return Diagnosis(name, cause, "", advice)


def quoted(line: str) -> str:
    """A line of a log as it may be shown: one line of text, bounded."""
    return printable(line.strip(), 500)


def _without_launcher(lines: list[str]) -> list[str]:
    """The lines up to the launcher's own traceback, which hides the trainer's."""
    for number, line in enumerate(lines):
        if _LAUNCHER.search(line):
            before = lines[:number]
            begins = max((i for i, text in enumerate(before) if text.startswith(_TRACEBACK)), default=number)
            return before[:begins]
    return lines


def _by_line(lines: Sequence[str], signatures: Sequence[Mapping[str, str]]) -> Diagnosis | None:
    """The signature of the last line that has one: what stopped the engine is said last."""
    for line in reversed(lines):
        for row in signatures:
            if line and re.search(row["pattern"], line):
                return Diagnosis(row["id"], row["cause"], quoted(line), row["advice"])
    return None


def _by_block(lines: Sequence[str], signatures: Sequence[Mapping[str, str]]) -> Diagnosis | None:
    """The first signature that fits the last traceback as a whole, for patterns that need more than a line."""
    begins = max((number for number, line in enumerate(lines) if line.startswith(_TRACEBACK)), default=None)
    if begins is None:
        return None
    block = "\n".join(lines[begins:])[:_BLOCK_LIMIT]
    for row in signatures:
        if re.search(row["pattern"], block):
            return Diagnosis(row["id"], row["cause"], quoted(_last_exception(lines)), row["advice"])
    return None


def _by_exception(lines: Sequence[str], exit_code: int | None) -> Diagnosis:
    line = _last_exception(lines) or next((line for line in reversed(lines) if _ERROR.search(line)), "")
    line = line or next((line for line in reversed(lines) if line.strip()), "")
    code = "" if exit_code is None else f" (exit code {exit_code})"
    cause = f"The engine stopped with an error that Easel has no explanation for{code}."
    return Diagnosis("unknown", cause, quoted(line), "The engine's own log, engine.log in the run folder, says more.")


def _last_exception(lines: Sequence[str]) -> str:
    return next((line for line in reversed(lines) if _EXCEPTION.match(line)), "")
