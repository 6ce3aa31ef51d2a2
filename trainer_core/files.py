"""Writes Easel's files atomically, and reads JSON, and TOML into dataclasses. Standard library only."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import errno
import functools
import json
import os
import stat
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import IO, Any, TypeVar

from trainer_core.errors import EaselError

Kind = TypeVar("Kind")

_SCALARS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "text",
}


def write_whole(
    path: Path,
    content: str | bytes,
    *,
    personal: bool = False,
    durable: bool = False,
    creates: bool = True,
    executable: bool = False,
) -> None:
    """Writes a file atomically, by rename: a reader sees the old file or the new one, never a part.

    Creates the folder if needed and if it `creates` any. Text is encoded as UTF-8, and line feeds are not converted; bytes of a file name that are
    not UTF-8 are preserved. A `personal` file, such as a profile that the user created, is flushed to the disk before it
    replaces the older one, and only its owner can read it. A `durable` file is on the disk, with its name, when this returns.
    An `executable` file is a program.

    Raises:
        OSError: it cannot be written; an older file is not changed.
    """
    try:
        data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise OSError(errno.EILSEQ, "it contains text that cannot be written", str(path)) from error
    if creates:
        path.parent.mkdir(parents=True, exist_ok=True)
    # Not derived from the file's own name, which may already have the maximum length.
    scratch = path.with_name(f".easel-{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        handle = os.open(
            scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if personal else 0o777 if executable else 0o666
        )
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if personal or durable:
                file.flush()
                os.fsync(file.fileno())
        scratch.replace(path)
        if durable:
            _flush_folder(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


def set_aside(path: Path) -> Path | None:
    """Renames a damaged file to NAME.damaged, so that a new one does not replace it; returns its new path, None if there is none.

    Raises:
        OSError: it cannot be renamed.
    """
    number, kept = 2, path.with_name(f"{path.name}.damaged")
    while os.path.lexists(kept):
        number, kept = number + 1, path.with_name(f"{path.name}.damaged-{number}")
    try:
        path.rename(kept)
    except FileNotFoundError:
        return None
    return kept


def _flush_folder(folder: Path) -> None:
    """Writes a folder's list of names to the disk, where the system can do that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[IO[bytes]]:
    """A regular file, open for reading; a plain open() would wait for a writer if the path is a pipe.

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    with _open(path, getattr(os, "O_NONBLOCK", 0)) as file:
        yield file


@contextlib.contextmanager
def open_own(path: Path) -> Iterator[IO[bytes]]:
    """As `open_regular`, for a file that Easel or an engine wrote into a folder which may come from somebody else.

    There a link could lead to any file of the user, whose content would then be shown or shared as the folder's own.

    Raises:
        OSError: it cannot be read, is a link, or is not a regular file.
    """
    flags = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        opened = _open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "is a link, which is not followed here", str(path)) from error
        raise
    with opened as file:
        yield file


def _open(path: Path, flags: int) -> IO[bytes]:
    handle = os.open(path, os.O_RDONLY | flags)
    try:
        file = os.fdopen(handle, "rb")
    except OSError:
        # A folder.
        os.close(handle)
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return file


def read_json(path: Path, longest_bytes: int = 8 << 20) -> Any:
    """The JSON data in a file that Easel or another program of this user wrote, read as `open_own` does.

    Raises:
        OSError: it cannot be read, is a link, or is not a regular file.
        ValueError: it is too long, or is not JSON.
    """
    with open_own(path) as file:
        data = file.read(longest_bytes + 1)
    if len(data) > longest_bytes:
        raise ValueError(f"{path} is longer than {longest_bytes} bytes.")
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply.") from error


def read_texts(path: Path) -> dict[str, str]:
    """The texts by name in a small record of Easel's own; empty if there is none, or it is damaged."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    is_whole = isinstance(found, dict) and all(isinstance(text, str) for text in found.values())
    return found if is_whole else {}


def read_toml(
    path: Path,
    error: type[EaselError] = EaselError,
    hint: str = "",
    longest_bytes: int = 8 << 20,
    bad_bytes: str = "strict",
    *,
    is_own: bool = False,
) -> dict[str, Any]:
    """The tables of a TOML file; `bad_bytes` is the `errors` argument of `bytes.decode`, for bytes that are not UTF-8.

    A file that `is_own` is read as `open_own` does.

    Raises:
        EaselError: (as `error`) the file cannot be read, is too long, or is not TOML.
    """
    import tomllib

    try:
        with open_own(path) if is_own else path.open("rb") as file:
            data = file.read(longest_bytes + 1)
        if len(data) > longest_bytes:
            raise error(f"{path} is longer than {longest_bytes} bytes.", hint)
        return tomllib.loads(data.decode("utf-8", bad_bytes))
    except OSError as found:
        raise error(f"{path} cannot be read: {found.strerror or found}.", hint) from found
    except UnicodeDecodeError as found:
        raise error(f"{path} is not UTF-8 text.", hint) from found
    except (ValueError, RecursionError) as found:
        raise error(f"{path} is not TOML: {found}.", hint) from found


def from_table(
    kind: type[Kind],
    table: object,
    where: str,
    error: type[EaselError] = EaselError,
    hint: str = "",
    given: Mapping[str, Any] | None = None,
) -> Kind:
    """A dataclass from a TOML table: each key must be one of its fields, with a value of the declared type.

    Arrays become the declared tuple, list or frozenset, tables the declared mapping or dataclass, text a path if one is
    declared, and whole numbers are accepted as floats. `given` are the values of more fields, which the table must not
    contain. `where` is the file and table for the error message, such as "backend.toml [families.sdxl]".

    Raises:
        EaselError: (as `error`) a key is unknown or missing, or a value has another type.
    """
    if not isinstance(table, Mapping):
        raise error(f"{where} must be a table.", hint)
    assert dataclasses.is_dataclass(kind)
    hints, required = _fields(kind)
    known = hints.keys() - (given or {}).keys()
    refuse_unknown(table, [name for name in hints if name in known], where, error, hint)
    for name in required:
        if name in known and name not in table:
            raise error(f"{where} lacks the key {name!r}.", hint)
    values = {key: _value(hints[key], value, f"{where}, {key}", error, hint) for key, value in table.items()}
    return typing.cast("type[Kind]", kind)(**values, **(given or {}))


def read_rows(path: Path, kind: type[Kind]) -> dict[str, Kind]:
    """A dataclass for each table of a TOML file that Easel ships, by the table's name, which is the `id`; in the file's order.

    Raises:
        EaselError: the file cannot be read, or a table does not fit, as with `from_table`.
    """
    hint = "Install Easel again."
    return {
        name: from_table(kind, table, f"{path.name} [{name}]", hint=hint, given={"id": name})
        for name, table in read_toml(path, hint=hint).items()
    }


def refuse_unknown(
    keys: Iterable[str], known: Collection[str], where: str, error: type[EaselError] = EaselError, hint: str = ""
) -> None:
    """Checks that every key is known.

    Raises:
        EaselError: (as `error`) a key is unknown; the message suggests a known key with a similar name.
    """
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            meant = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known) or 'none'}."
            raise error(f"{where} has an unknown key: {key!r:.80}. {meant}", hint)


@functools.cache
def _fields(kind: type) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The declared types of a dataclass's fields by name, and the names of the fields without a default."""
    hints = typing.get_type_hints(kind)
    fields = [each for each in dataclasses.fields(kind) if each.init]
    required = (
        each.name
        for each in fields
        if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
    )
    return {each.name: hints[each.name] for each in fields}, tuple(required)


def _value(hint: Any, value: Any, where: str, error: type[EaselError], advice: str) -> Any:
    """The value, converted to the declared type."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _first_that_fits(inner, value, where, error, advice)
    if origin is typing.Literal:
        if value in inner and isinstance(value, str):
            return value
        raise error(f"{where} must be one of {', '.join(map(repr, inner))}, not {value!r:.80}.", advice)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_table(hint, value, where, error, advice)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise error(f"{where} must be a table.", advice)
        return {key: _value(inner[1], each, f"{where}.{key}", error, advice) for key, each in value.items()}
    if isinstance(origin, type) and issubclass(origin, (Sequence, AbstractSet)):
        return _array(origin, inner, value, where, error, advice)
    return _scalar(hint, value, where, error, advice)


def _first_that_fits(choices: tuple[Any, ...], value: Any, where: str, error: type[EaselError], advice: str) -> Any:
    refusals = []
    for choice in choices:
        if choice is not type(None):
            try:
                return _value(choice, value, where, error, advice)
            except error as refusal:
                refusals.append(refusal)
    raise refusals[-1]


def _array(origin: type, inner: tuple[Any, ...], value: Any, where: str, error: type[EaselError], advice: str) -> Any:
    if not isinstance(value, list):
        raise error(f"{where} must be an array.", advice)
    is_fixed = origin is tuple and Ellipsis not in inner
    if is_fixed and len(inner) != len(value):
        raise error(f"{where} must have {len(inner)} entries.", advice)
    hints = inner if is_fixed else (inner[0],) * len(value)
    entries = [
        _value(each, entry, f"{where}[{place}]", error, advice)
        for place, (each, entry) in enumerate(zip(hints, value, strict=True))
    ]
    if issubclass(origin, AbstractSet):
        return frozenset(entries)
    return entries if origin is list else tuple(entries)


def _scalar(hint: Any, value: Any, where: str, error: type[EaselError], advice: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint not in _SCALARS:
        raise TypeError(f"{where} is declared as {hint}, which is not a type of TOML values")
    if isinstance(value, bool) != (hint is bool) or not isinstance(value, hint):
        raise error(f"{where} must be {_SCALARS[hint]}, not {value!r:.80}.", advice)
    return value
