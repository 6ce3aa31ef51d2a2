"""How the command line prints: outside text always as plain text, and only JSON on stdout with --json."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainer_core.errors import EaselError, PlanError
from trainer_core.plan import prompts
from trainer_core.problems import Problem
from trainer_core.text import printable, without_link_secrets

if TYPE_CHECKING:
    from trainer_core.curation.records import Edit

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}
NOT_STARTED = "Nothing was started, because of the problems above."
SHORT = 16
"""The length in characters up to which a table keeps a cell on one line."""
WORD = 40
"""The length in characters up to which a table keeps a word on one line."""


def _safe(text: str, limit: int = 2000) -> str:
    """The text as it may be shown: no control characters, and no passwords and signatures in addresses."""
    return printable(without_link_secrets(text), limit)


def line(text: object = "", style: str = "") -> None:
    """Prints one line of plain text: no markup, no control characters."""
    out.print(Text(_safe(str(text)), style=style))


def error(problem: EaselError) -> None:
    """Prints an error and its hint to stderr."""
    err.print(Text("Error: ", style="bold red") + Text(_safe(problem.message)))
    if problem.hint:
        err.print(Text("       " + _safe(problem.hint)))


class ShownError(PlanError):
    """Problems of a plan that were printed already, together with what they belong to."""


def failure(found: EaselError, wants_json: bool) -> None:
    """Prints why a command failed: as JSON data, or the problems of a plan, or else the error with its hint."""
    known = found.problems if isinstance(found, PlanError) else ()
    if wants_json:
        as_json({"error": found.message, "hint": found.hint, "problems": [each.as_dict() for each in known]})
    elif known and not isinstance(found, ShownError):
        problems(known)
        err.print(Text("Error: ", style="bold red") + Text(NOT_STARTED))
    else:
        error(found)


def notice(text: str) -> None:
    """Prints what was skipped, on stderr so that stdout has only JSON."""
    err.print(Text("Notice: ", style="yellow") + Text(_safe(text)))


def problems(found: Iterable[Problem]) -> None:
    """Prints problems, worst first, each with its setting and its fix."""
    for problem in found:
        where = f" ({problem.path})" if problem.path else ""
        out.print(Text(problem.severity, style=STYLES[problem.severity]) + Text(_safe(f"{where}: {problem.message}")))
        if problem.fix:
            changes = " ".join(f"--set {path}={_typed(value)}" for path, value in problem.fix.assignments.items())
            task = problem.fix.task
            then = (
                f", then {changes} --set {task.setting}=<the file>".replace("  ", " ") if task and task.setting else ""
            )
            command = f"{task.command}{then}" if task else ""
            way = command or changes or (f"--engine {problem.fix.engine}" if problem.fix.engine else "")
            line(f"    fix: {problem.fix.label}" + (f"   [{way}]" if way else ""), "dim")


def value(found: object, default: object = None) -> str:
    """A setting's value for a table; for an empty one the default that applies, if it is known."""
    if isinstance(found, tuple):
        return prompts.to_text(found).replace("\n", " | ") or "none"
    if found is not None:
        return str(found).lower() if isinstance(found, bool) else str(found)
    return "not set" if default is None else f"{_typed(default)} (default)"


def _typed(found: object) -> str:
    """A value as a user types it in a terminal."""
    if found is None:
        return "none"
    return str(found).lower() if isinstance(found, bool) else shlex.quote(str(found))


def table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Prints rows under headings: fitted to the width of a terminal, or one line a row in a file or a pipe.

    In a terminal that is too narrow for columns, each row is a paragraph with a line for each cell.
    """
    heads = tuple(headings)
    cells = [tuple(_safe(str(cell), 1000) for cell in row) for row in rows]
    if not out.is_terminal:
        aligned([heads, *cells])
        return
    if sum(map(_least_width, zip(heads, *cells, strict=True))) + 2 * (len(heads) - 1) > out.width:
        _paragraphs(heads, cells)
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(zip(heads, *cells, strict=True)):
        # The first column names the row and is often copied, so it is never cut; only long words are, such as paths.
        shown.add_column(column[0], no_wrap=not number, overflow="fold", min_width=_least_width(column))
    for row in cells:
        shown.add_row(*map(Text, row))
    out.print(shown)


def _least_width(column: Sequence[str]) -> int:
    """The width in characters from which a column is readable: of its words, and of what is short as a whole."""
    word = max(len(word) for cell in column for word in cell.split() or ("",))
    return max(min(word, WORD), min(max(map(len, column)), SHORT))


def _paragraphs(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for row in rows:
        line(row[0], "bold")
        for name, cell in zip(heads[1:], row[1:], strict=True):
            if cell:
                line(f"  {name}: {cell}")


def aligned(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows, the first of them headings, in columns that are never cut, so that they can be copied and searched."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        line("  ".join(cells).rstrip(), "" if number else "bold")


def edit(found: Edit | None, nothing: str, wants_json: bool) -> None:
    """An edit of a dataset, and the files that it left as they were; `nothing` if there is none."""
    if wants_json:
        as_json(dataclasses.asdict(found) if found is not None else None)
        return
    if found is None:
        line(nothing)
        return
    line(f"{found.title}: {found.files:,} {'file' if found.files == 1 else 'files'}.")
    for path, reason in found.refused:
        line(f"{path} was left as it is: {reason}.")


def as_json(data: Any, *, with_links: bool = False) -> None:
    """Prints JSON data as UTF-8; numbers that JSON lacks (nan, inf) become null.

    Addresses lose their passwords and signatures, unless the data is `with_links` that the user asked for.
    """
    text = json.dumps(data if with_links else _plain(data), indent=2, ensure_ascii=with_links, allow_nan=False)
    # Bytes, because the terminal may use another encoding.
    click.echo(text.encode())


def _plain(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {_text(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple | set | frozenset):
        return [_plain(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data if isinstance(data, int | float) or data is None else _text(data)


def _text(data: object) -> str:
    """A text or a path; a lone surrogate, from a file name that is not UTF-8, cannot be encoded and becomes an escape."""
    return without_link_secrets(str(data)).encode("utf-8", "backslashreplace").decode()
