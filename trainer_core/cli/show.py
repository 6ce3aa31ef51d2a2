"""How the command line shows things: outside text always as text, JSON on its own on stdout."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainer_core.errors import EaselError
from trainer_core.problems import Problem
from trainer_core.text import printable

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}
WORD = 40
"""Up to how many characters a word is kept on one line of a table."""


def line(text: object = "", style: str = "") -> None:
    """Prints one line of text as text: no markup, no control characters."""
    out.print(Text(printable(str(text)), style=style))


def error(problem: EaselError) -> None:
    """Prints an error and its hint to stderr."""
    err.print(Text("Error: ", style="bold red") + Text(printable(problem.message)))
    if problem.hint:
        err.print(Text("       " + printable(problem.hint)))


def notice(text: str) -> None:
    """Prints on stderr what was not looked at, so that JSON stands alone on stdout."""
    err.print(Text("Notice: ", style="yellow") + Text(printable(text)))


def problems(found: Iterable[Problem]) -> None:
    """Prints problems, worst first, each with its setting and its fix."""
    for problem in found:
        where = f" ({problem.path})" if problem.path else ""
        out.print(
            Text(problem.severity, style=STYLES[problem.severity]) + Text(printable(f"{where}: {problem.message}"))
        )
        if problem.fix:
            changes = " ".join(f"--set {path}={_typed(value)}" for path, value in problem.fix.assignments.items())
            line(f"    fix: {problem.fix.label}" + (f"   [{changes}]" if changes else ""), "dim")


def value(found: object, default: object = None) -> str:
    """A setting's value for a table; an empty one as what it stands for, where that is known."""
    if found is not None:
        return str(found).lower() if isinstance(found, bool) else str(found)
    return "as usual" if default is None else f"{_typed(default)} (its own)"


def _typed(found: object) -> str:
    """A value as it is typed in a terminal."""
    if found is None:
        return "none"
    return str(found).lower() if isinstance(found, bool) else shlex.quote(str(found))


def table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Prints rows under headings: on a terminal as wide as it is, into a file or a pipe one line a row."""
    heads = tuple(headings)
    cells = [tuple(printable(str(cell), 1000) for cell in row) for row in rows]
    if not out.is_terminal:
        aligned([heads, *cells])
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(zip(heads, *cells, strict=True)):
        # The first names the row and is typed again elsewhere, so it is never cut; nor are words, paths apart.
        longest = max(len(word) for cell in column for word in cell.split() or ("",))
        shown.add_column(column[0], no_wrap=not number, overflow="fold", min_width=min(longest, WORD))
    for row in cells:
        shown.add_row(*map(Text, row))
    out.print(shown)


def aligned(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows, the first of them headings, in columns of which none is cut: to be copied, and to be searched."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        line("  ".join(cells).rstrip(), "" if number else "bold")


def as_json(data: Any) -> None:
    """Prints JSON data; numbers that JSON lacks (nan, inf) become null."""
    click.echo(json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False))


def _plain(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple | set | frozenset):
        return [_plain(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if isinstance(data, str | int | float | bool) or data is None:
        # A lone surrogate, from a file name that is not UTF-8, cannot be encoded.
        return data.encode("utf-8", "backslashreplace").decode() if isinstance(data, str) else data
    return str(data)
