"""A command or a configuration that somebody wrote for an engine, as text: taken apart here, understood by the engine's backend.

Nothing of it is run, no variable is replaced, and no file is read but those that the backend asks for.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from trainer_core.errors import PlanError

if TYPE_CHECKING:
    from trainer_core.engines.manifest import BackendManifest

LONGEST = 200_000
"""Characters of a text that is read."""
ENDS = ("&&", "||", ";", "|", "&", ">", ">>")
"""Words after which another command begins."""
BEYOND, DEEPEST = 1 << 64, 50
"""No option takes a whole number from the first on. So many tables and lists in each other are read at most."""
HOW = "Paste the whole command, from the name of the script on, or the text of its configuration file."
_CONTINUED = re.compile(r"[ \t]*[\\^`][ \t]*\r?\n")
_WINDOWS = re.compile(r"[A-Za-z]:\\|\\\\\w")
_DRIVE = re.compile(r"[A-Za-z]:[\\/](?!/)|\\\\\w")
_VARIABLE = re.compile(r"\$[A-Za-z_{(]|%[A-Za-z_]+%")

Kind = Literal["setting", "epochs", "share", "native", "same", "refused"]
"""What becomes of an option: a setting; one given in epochs, or as a share of the steps; an own option; what Easel does anyway; nothing."""


@dataclass(frozen=True)
class Given:
    """A text taken apart: the name of the program without its ending, and its options by name without dashes.

    A value is True for an option without one, a text, a list of texts, or what a configuration file has. `launch` are the options of
    the launcher before the program, `unread` what is no option, each with the reason.
    """

    program: str
    options: Mapping[str, Any]
    launch: Mapping[str, Any] = field(default_factory=dict)
    unread: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Item:
    """What becomes of one option. `is_default`: the text does not have it, and the engine's own default counts."""

    option: str
    shown: str
    kind: Kind
    path: str = ""
    value: Any = None
    reason: str = ""
    is_default: bool = False


@dataclass(frozen=True)
class Reading:
    """What a backend understood of a text: the training method, and what becomes of each option.

    `family` is the one that the program trains; the model's own file decides, if it is here.
    """

    method: str
    family: str
    items: tuple[Item, ...]


class Files(Protocol):
    """The files and folders that a command names, as far as they are here."""

    def text(self, path: str) -> str:
        """The text of a file.

        Raises:
            PlanError: it cannot be read; the message says why.
        """
        ...

    def folders(self, path: str) -> tuple[str, ...]:
        """The names of the folders in a folder.

        Raises:
            PlanError: it cannot be read; the message says why.
        """
        ...


@runtime_checkable
class ReadsCommands(Protocol):
    """A backend that understands commands and configurations of its engine."""

    manifest: BackendManifest

    def reads(self, given: Given) -> bool:
        """Whether a text is for this engine."""
        ...

    def read_command(self, given: Given, family: str, files: Files) -> Reading:
        """What becomes of each option; `family` is that of the present model, "" if there is none."""
        ...


def parse(text: str) -> Given:
    """The program and the options in a text.

    Raises:
        PlanError: it is too long, or is neither a command nor a configuration.
    """
    if len(text) > LONGEST:
        raise PlanError(f"The text has {len(text):,} characters; at most {LONGEST:,} are read.", HOW)
    if not text.strip():
        raise PlanError("There is no text.", HOW)
    _check_text(text)
    tables = _tables(text)
    if tables is not None:
        return Given("", dict(_flat(tables)))
    return _command(_words(text))


def _tables(text: str) -> Mapping[str, Any] | None:
    """The tables of a configuration in TOML or JSON; None if it is neither."""
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not found:
        return None
    _check_bounds(found)
    return found


def _check_bounds(tables: Mapping[str, Any]) -> None:
    """Checks that the values of a configuration can be shown and calculated with.

    Raises:
        PlanError: a number is too large, a text has half of a character, or tables are too deep in each other.
    """
    values: list[Any] = [tables]
    for _ in range(DEEPEST):
        inner = [
            (*each, *each.values()) if isinstance(each, dict) else each
            for each in values
            if isinstance(each, dict | list)
        ]
        values = [value for each in inner for value in each]
        for value in values:
            _check_text(value if isinstance(value, str) else "")
        if any(isinstance(value, int) and abs(value) >= BEYOND for value in values):
            raise PlanError("A number in the text has more digits than any option takes.", "Correct it.")
        if not values:
            return
    raise PlanError(f"More than {DEEPEST} tables are in each other.", HOW)


def _check_text(text: str) -> None:
    """Checks that a text can be written into a plan.

    Raises:
        PlanError: it has half of a character.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PlanError("The text has half of a character, which cannot be written.", "Correct it.") from error


def _flat(tables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The options in tables; the names of the tables do not matter. A list of tables stays as it is."""
    for name, value in tables.items():
        if isinstance(value, dict):
            yield from _flat(value)
        else:
            yield name.lstrip("-").replace("-", "_"), value


def _words(text: str) -> list[str]:
    """The words of the command in a text: the line with the most options, with the lines that continue it."""
    lines: list[str] = []
    for raw in _CONTINUED.sub(" ", text).splitlines():
        line = raw.strip()
        if line.startswith("--") and lines:
            lines[-1] += f" {line}"
        elif line and not line.startswith(("#", "::", "REM ")):
            lines.append(line)
    best = max(lines, key=lambda line: line.count("--"), default="")
    lexer = shlex.shlex(best, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    if _WINDOWS.search(best):
        lexer.escape = ""  # a backslash is part of a path there
    try:
        words = list(lexer)
    except ValueError as error:
        raise PlanError("A quotation mark is not closed.", HOW) from error
    starts = [place + 1 for place, word in enumerate(words) if word in ENDS]
    parts = [words[a:b] for a, b in zip([0, *starts], [*(each - 1 for each in starts), len(words)], strict=True)]
    return max(parts, key=lambda part: sum(word.startswith("--") for word in part), default=[])


def _command(words: Sequence[str]) -> Given:
    script = next((place for place, word in enumerate(words) if word.endswith(".py")), None)
    before, after = (words[:script], words[script + 1 :]) if script is not None else ([], words)
    options, unread = _options(after)
    if not options:
        raise PlanError("This is no command with options, and no configuration file in TOML or JSON.", HOW)
    program = PureWindowsPath(PurePosixPath(words[script]).name).stem if script is not None else ""
    return Given(program, options, _options(before)[0], tuple(unread))


def _options(words: Sequence[str]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    found: dict[str, Any] = {}
    unread: list[tuple[str, str]] = []
    name = ""
    for word in words:
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")
            found[name] = value if equals else True
        elif not name:
            unread.append((word, "it is not part of an option."))
        elif found[name] is True:
            found[name] = word
        else:
            found[name] = [*(found[name] if isinstance(found[name], list) else [found[name]]), word]
    return found, unread


def of_windows(path: str) -> bool:
    """Whether a path begins with a drive of Windows, or with the name of a server as it is written there."""
    return _DRIVE.match(path.strip().strip("\"'")) is not None


def variable_in(value: Any) -> bool:
    """Whether a value is, or has in it, a variable of a shell."""
    values = value if isinstance(value, list) else [value]
    return any(isinstance(each, str) and _VARIABLE.search(each) for each in values)


def shown(value: Any) -> str:
    """A value as it is in a command; shortened."""
    if value is True:
        return ""
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else text[:79] + "…"
