"""Reads the end of an engine's log, which shows why the engine stopped. Earlier errors do not count.

These parts are removed: errors that the engine survived (its progress bar advanced after them), the source lines in
tracebacks, messages that Python prints while it exits, and the traceback of a launcher, except the exit code in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from trainer_core.text import without_escapes

_LINE_LIMIT = 2000
_COLOURED_LIMIT = 8000
_READ_LINES = 100_000
_LINES, _CHARACTERS = 2000, 200_000
_MESSAGE_LINES = 100
# Not in the middle of a line, because a caption can contain it: only after a progress bar, a frame, or the level of an error.
_HEADER = re.compile(
    r"^(?:[^\n]{0,600}(?:it/s|s/it)[^\]]{0,200}\]|(?:\d{1,3}: |Original )?[^\w'\"]{0,300})Traceback \(most recent call last\)"
    r"|\b(?:ERROR|CRITICAL)\b.*Traceback \(most recent call last\):?$"
)
# Source: torch 2.14.0, distributed/distributed_c10d.py, _distributed_excepthook: it is for uncaught exceptions only.
_RANK = re.compile(r"^\[rank\d+\]: ?")
_TIME = re.compile(r"^(?:\[ *\d+\.\d+\]|\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)) ")
"""The time stamp that a container's log writes before each line."""
_FRAME = re.compile(r"[\s│╭╰❱|]")
_NOISE = re.compile(r"^(?:Exception ignored |--- Logging error ---)")
_THREAD = re.compile(r"^Exception in thread ")
_CHAINED = re.compile(
    r"^(?:During handling of the above exception|The above exception was the direct cause)|: Caught \w+ in .* \d+\.$"
)
# Source: accelerate 1.15.0, commands/launch.py; torch 2.14.0, distributed/run.py and distributed/launcher/api.py.
_LAUNCHER_FRAME = re.compile(r"\b(?:\w+_launcher|launch_command|launch_agent)\b|accelerate_cli\.py")
_LAUNCHER = re.compile(r"CalledProcessError: Command |\bChildFailedError:|^KeyboardInterrupt")
# Source: CPython 3.12, subprocess.CalledProcessError.__str__.
_CHILD_END = re.compile(
    r"(died) with (?:<Signals\.\w+:|unknown signal) *(\d{1,10})>?|returned non-zero exit status (\d{1,10})"
)
# Source: torch 2.14.0, distributed/elastic/multiprocessing/errors/__init__.py, _FAILURE_FORMAT_TEMPLATE.
_ELASTIC_EXIT = re.compile(r"^\s*exitcode\s*: (-?\d{1,10})\b")
# Source: tqdm 4.67, std.py, tqdm.format_meter.
_BAR = re.compile(r"(?<!\d)(\d{1,9})/(\d{1,9}) \[\d\d:\d\d")


@dataclass(frozen=True)
class LogEnd:
    """The end of a log.

    Attributes:
        before: The lines before the first traceback.
        messages: The lines after the frames of each traceback, up to the next one.
        error: The messages of the traceback that ended the engine, and of its causes; empty if there is no traceback.
        frames: The frames of that traceback, which show what the engine was doing.
        exit_code: The exit code of the engine as its launcher reports it, negative for a signal.
        report: The launcher's message about that.
        failed: Whether a traceback or the launcher shows that the engine failed.
    """

    before: tuple[str, ...] = ()
    messages: tuple[tuple[str, ...], ...] = ()
    error: tuple[tuple[str, ...], ...] = ()
    frames: str = ""
    exit_code: int | None = None
    report: str = ""
    failed: bool = False


@dataclass(frozen=True)
class _Report:
    """A launcher's message about the end of the engine."""

    exit_code: int | None = None
    words: str = ""


@dataclass
class _Block:
    """A traceback: the line before it, its frames, and its exception with the lines after that."""

    before: str
    frames: list[str] = field(default_factory=list)
    says: list[str] = field(default_factory=list)


def read(lines: Sequence[str]) -> LogEnd:
    """The end of the log with these lines."""
    clean = _bounded(_after_progress(cleaned(lines)))
    head, blocks = _split([_RANK.sub("", line) for line in clean])
    blocks = [block for block in blocks if not _NOISE.match(block.before)]
    report, blocks = _without_launchers(blocks)
    said, code = tuple(tuple(block.says) for block in blocks), report.exit_code
    end = LogEnd(tuple(head), said, exit_code=code, report=report.words, failed=code is not None)
    chain = _last_chain([block for block in blocks if not _THREAD.match(block.before)])
    if not chain:
        return end
    error = tuple(tuple(block.says) for block in chain)
    frames = "\n".join(line for block in chain for line in block.frames)
    return replace(end, error=error, frames=frames, failed=True)


def cleaned(lines: Sequence[str]) -> list[str]:
    """The last lines of a log as plain text, with a limited length each."""
    return list(_clean(lines[-_READ_LINES:]))


def _clean(lines: Sequence[str]) -> Iterator[str]:
    """The lines as plain text: without colours, time stamps and NUL bytes (in UTF-16, each letter has one)."""
    for line in lines:
        text = without_escapes(line[:_COLOURED_LIMIT].replace("\0", ""))[:_LINE_LIMIT].rstrip()
        if text := _TIME.sub("", text):
            yield text


def _after_progress(lines: list[str]) -> list[str]:
    """The lines from the last advance of a progress bar on: the engine survived all errors before it.

    A bar is drawn once more when it is closed, without an advance. After an error in one rank, others may continue.
    """
    seen: dict[str, int] = {}
    begins = 0
    for number, line in enumerate(lines):
        if _RANK.match(line) and _HEADER.search(_RANK.sub("", line)):
            break
        for done, total in _BAR.findall(line):
            before = seen.get(total)
            if before is not None and int(done) > before:
                begins = number
            if before is None or int(done) > before or int(done) == 0:
                seen[total] = int(done)
    return lines[begins:]


def _bounded(lines: list[str]) -> list[str]:
    """The last lines, with a limited number of characters in total, because each line is compared with every signature."""
    left, begins = _CHARACTERS, len(lines)
    while begins and len(lines) - begins < _LINES and (left := left - len(lines[begins - 1])) >= 0:
        begins -= 1
    return lines[begins:]


def _split(lines: list[str]) -> tuple[list[str], list[_Block]]:
    """The lines before the first traceback, and the tracebacks."""
    head: list[str] = []
    blocks: list[_Block] = []
    for line in lines:
        says = blocks[-1].says if blocks else head
        if _HEADER.search(line):
            blocks.append(_Block(says[-1] if says else ""))
        elif blocks and not says and _FRAME.match(line):
            blocks[-1].frames.append(line)
        else:
            says.append(line)
    return head, blocks


def _without_launchers(blocks: list[_Block]) -> tuple[_Report, list[_Block]]:
    """The report of the last launcher, and the tracebacks that do not come from a launcher.

    A compiler that an engine calls can fail with the same exception, so the frames must be those of a launcher.
    """
    report, others = _Report(), []
    for block in blocks:
        if block.says and _LAUNCHER.search(block.says[0]) and _LAUNCHER_FRAME.search("\n".join(block.frames)):
            report = _reported(block.says)
        else:
            others.append(block)
    return report, others


def _reported(says: list[str]) -> _Report:
    """How the engine ended, according to the launcher; as after an interrupt if the launcher was interrupted."""
    # A console may have wrapped the message. Only its end counts, because it starts with the command and its arguments.
    if ended := [*_CHILD_END.finditer(" ".join(says[:_MESSAGE_LINES]))]:
        died, number, status = ended[-1].groups()
        return _Report(-int(number) if died else int(status), ended[-1][0])
    # The last entry is the first failure, which is the root cause.
    if codes := [found for line in says if (found := _ELASTIC_EXIT.match(line))]:
        return _Report(int(codes[-1][1]), codes[-1][0])
    return _Report(-2, says[0]) if says[0].startswith("KeyboardInterrupt") else _Report(1, says[0])


def _last_chain(blocks: list[_Block]) -> list[_Block]:
    """The last traceback, preceded by those that led to it."""
    begins = len(blocks) - 1
    while begins > 0 and _CHAINED.search(blocks[begins].before):
        begins -= 1
    return blocks[max(begins, 0) :]
