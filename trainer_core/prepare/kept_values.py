"""The entries of a notebook of tools, kept in a file between two openings: a table of values for each tool."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import PlanError
from trainer_core.files import open_own, set_aside, write_whole
from trainer_core.text import TOKEN, printable

VERSION = 1
LARGEST_FILE_BYTES = 1 << 20
Table = Mapping[str, Mapping[str, Any]]
"""Values by tool and field."""


@dataclass(frozen=True)
class Kept:
    """The values that were read from a file, and the time when they were written."""

    table: Table
    saved: dt.datetime


def kept_in(app: str) -> Path:
    """The file with the entries of an app."""
    return places.home() / "forms" / f"{app}.json"


def keep(path: Path, table: Table) -> None:
    """Writes the values, or removes their file if there are none. A value that looks like a token is left out.

    Raises:
        OSError: the file cannot be written.
    """
    kept = {
        tool: {name: value for name, value in values.items() if not _is_secret(value)} for tool, values in table.items()
    }
    kept = {tool: values for tool, values in kept.items() if values}
    if not kept:
        path.unlink(missing_ok=True)
        return
    saved = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    text = json.dumps({"version": VERSION, "saved": saved, "tools": kept}, ensure_ascii=True, indent=1)
    write_whole(path, text + "\n", personal=True)


def read(path: Path) -> Kept | None:
    """The values in a file, of which only the form of the table is checked; None if there is none.

    Raises:
        PlanError: the file is damaged. It was renamed to NAME.damaged, which the message says.
    """
    try:
        with open_own(path) as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PlanError(f"Your last entries cannot be read: {error.strerror or error}.", f"See {path}.") from error
    try:
        return _kept(content)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        try:
            kept = set_aside(path)
        except OSError:
            kept = path
        raise PlanError(
            f"Your last entries cannot be used: their file is damaged ({printable(str(error), 120)}).",
            f"The file was kept as {kept or path}. The form begins empty.",
        ) from error


def _kept(content: bytes) -> Kept:
    if len(content) > LARGEST_FILE_BYTES:
        raise ValueError("it is too large")
    data = json.loads(content.decode("utf-8"))
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise ValueError(f"its version is not {VERSION}")
    table = data["tools"]
    if not isinstance(table, dict) or not all(isinstance(values, dict) for values in table.values()):
        raise TypeError("it has no table of values")
    return Kept(table, dt.datetime.fromisoformat(data["saved"]).astimezone())


def _is_secret(value: Any) -> bool:
    return TOKEN.search(json.dumps(value)) is not None
