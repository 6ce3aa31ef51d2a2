"""Sorts the lines of a log by what they are: an error, a message, a warning, a progress bar. Hides names that other people chose.

A caption, a prompt or a file name can contain any words, such as "CUDA out of memory". So only lines that are errors by their
form are compared with most signatures, and quoted texts and file names in them are replaced before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["error", "told", "plain", "bar", "info", "warning"]

EXCEPTION = re.compile(
    r"^(?:\[[^\]]{0,40}\]:? )?(?:[A-Za-z_]\w{0,80}\.){0,8}_?[A-Z]\w{0,80}(?:Error|Exception|Interrupt|Exit)\b"
)
# tqdm glues the next line of another program to an open bar. Source: tqdm 4.67, std.py, tqdm.format_meter.
_BAR = re.compile(r"\d{1,9}/\d{1,9} \[\d\d:\d\d[^\]]{0,300}\]")
_OPEN_BAR = r"(?:[^\n]{0,600}?\d/\d{1,9} \[\d\d:\d\d[^\]]{0,300}\])?"
_BRACKETS = r"(?:\[[^\]]{1,40}\]:? *){0,4}"
_TIME = r"(?:\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?Z?)?"
_LEVELS = r"(?P<{0}>DEBUG|INFO|NOTE|WARN|WARNING|ERROR|CRITICAL|FATAL)"
_LEVELLED = re.compile(
    rf"^{_OPEN_BAR}\s*{_BRACKETS}{_TIME} *(?:-? ?[\w.]{{1,80}} - )?"
    rf"(?:\[{_LEVELS.format('boxed')}\]|{_LEVELS.format('bare')}(?::| {{2,}}| - )) *(?P<text>.*)"
)
# glog, as torch's C++ code and its launcher write: E1120 12:00:00.000000 77 api.py:882] text
_GLOG = re.compile(r"^(?P<level>[IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ [^\]]{1,200}\] ?(?P<text>.*)")
_GLOG_LEVELS: dict[str, Kind] = {"I": "info", "W": "warning", "E": "error", "F": "error"}
_WARNS = re.compile(r"^.{0,300}?\b\w+Warning: |^warning: ")
# The error lines of argparse, uv, pip, git, curl, ld.so and of libraries in C++. uv writes the reasons below its error.
_COMPLAINS = re.compile(
    r"^(?:[\w./-]{1,80}: )?(?:error|Error|ERROR|fatal|Fatal|FATAL)\b[: ]|^\s*(?:Caused by|cause|hint): |^terminate called|^\s+what\(\): |^\s*[\u00d7\u2570\u251c\u2717](?:─▶)? "
    r"|^(?:INTERNAL ASSERT|NCCL|NVRM)\b"
)
_QUOTED = re.compile(r"""(?<![\w(])(?<!failure )(?<!failure \d )(['"`])(?P<inside>[^'"`\n]{0,1000}?)\1(?!\w)""")
_ENDINGS = "png|jpe?g|webp|bmp|gif|tiff?|avif|jxl|heic|txt|caption|npz|mp4|tags?"
_PATH = re.compile(
    rf"(?<![\w:/\\.])(?:~|\.{{0,2}}|[A-Za-z]:|file:/)[/\\][^\n'\"]{{0,600}}\.(?:{_ENDINGS})\b", re.IGNORECASE
)
_NAME = re.compile(rf"[^:'\"/\\\n|\[\]()]{{1,250}}\.(?:{_ENDINGS})\b", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """A line of a log.

    Attributes:
        kind: "error" is an exception or has the level of an error; "told" is a line of its message; "plain" has no level.
        text: The line without its time and level, with quoted texts and file names replaced.
        whole: The line as it was.
    """

    kind: Kind
    text: str
    whole: str


def sorted_lines(lines: Iterable[str], *, after_traceback: bool = False) -> Iterator[Line]:
    """The lines, each with its kind. An indented line without a level belongs to the message above it.

    `after_traceback`: they begin with the message of an exception, which may have several lines.
    """
    before: Kind = "told" if after_traceback else "plain"
    for number, whole in enumerate(lines):
        # The first line after the frames is the exception, whatever its name.
        kind, text = ("error", whole) if after_traceback and number == 0 else _kind(whole)
        if kind == "plain":
            kind = _unmarked(whole, before)
        else:
            before = "told" if kind == "error" else kind
            if kind == "bar":
                before = "plain"
        if kind == "plain":
            before = "plain"
        yield Line(kind, masked(text), whole)


def masked(text: str) -> str:
    """The text with quoted sentences and the names of images and captions replaced."""
    text = _QUOTED.sub(_without_sentence, text)
    return _NAME.sub(" <file>", _PATH.sub("<file>", text))


def _without_sentence(found: re.Match[str]) -> str:
    """The quoted text as it was if it is one word, such as the name of a module."""
    inside = found["inside"]
    is_word = not re.search(r"\s", inside) and not re.search(rf"\.(?:{_ENDINGS})$", inside, re.IGNORECASE)
    return found[0] if is_word else f"{found[1]}<text>{found[1]}"


def _unmarked(whole: str, before: Kind) -> Kind:
    """The kind of a line without a level: what is above decides if it is indented, or if an exception's message goes on."""
    return before if before == "told" or whole[:1].isspace() else "plain"


def _kind(line: str) -> tuple[Kind, str]:
    """The kind of a line as far as it shows itself, and its message."""
    if EXCEPTION.match(line):
        return "error", line
    if found := _LEVELLED.match(line):
        level = found["boxed"] or found["bare"]
        return _of_level(level), found["text"]
    if found := _GLOG.match(line):
        return _GLOG_LEVELS[found["level"]], found["text"]
    if _WARNS.match(line):
        return "warning", line
    if _BAR.search(line):
        return "bar", line
    return ("error", line) if _COMPLAINS.match(line) else ("plain", line)


def _of_level(level: str) -> Kind:
    if level in ("ERROR", "CRITICAL", "FATAL"):
        return "error"
    return "warning" if level.startswith("WARN") else "info"
