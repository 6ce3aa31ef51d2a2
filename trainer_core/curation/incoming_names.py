"""Names of files that come from outside: made safe for a folder, and given so that no two are the same."""

from __future__ import annotations

import contextlib
import unicodedata
from collections import Counter
from collections.abc import Collection
from pathlib import PurePosixPath

_SKIPPED = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir"})
_LONGEST_NAME_BYTES = 200
_MOST_PARTS = 32


def plain(name: str) -> PurePosixPath | None:
    """The path, inside of a folder, of a file with this name from outside; None if there is none: see `unfit`."""
    parts, reason = _parts(name)
    return None if reason else PurePosixPath(*(_short(part) for part in parts))


def unfit(name: str) -> str:
    """Why there is no path inside of a folder for a file with this name, such as "its name leads out of the folder"; "" if there is."""
    return _parts(name)[1]


def _parts(name: str) -> tuple[list[str], str]:
    found = unicodedata.normalize("NFC", name.replace("\\", "/"))
    found = "".join(sign if unicodedata.category(sign)[0] != "C" and sign not in ':*?"<>|' else "_" for sign in found)
    parts = [part.strip() for part in found.split("/")]
    if found.startswith("/") or ".." in parts or (len(name) > 1 and name[1] == ":"):
        return [], "its name leads out of the folder"
    parts = [part for part in parts if part not in ("", ".")]
    if len(parts) > _MOST_PARTS:
        return [], f"it lies in more than {_MOST_PARTS - 1} folders"
    return parts, "" if parts else "it has no name"


def decoded(name: str) -> str:
    """A name of a zip that does not say its encoding: zipfile reads it as cp437, and it is more often UTF-8, Japanese or Chinese."""
    try:
        data = name.encode("cp437")
    except UnicodeEncodeError:
        return name
    if data.isascii():
        return name
    for encoding in ("utf-8", "cp932", "gbk"):
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode(encoding)
    return name


def is_skipped(path: PurePosixPath) -> bool:
    """Whether it is a file that a system added: nobody misses it."""
    return any(part.startswith(".") or part.casefold() in _SKIPPED for part in path.parts)


def around(paths: list[PurePosixPath]) -> int:
    """How many folders stand around all files."""
    heads = Counter(path.parts[0] for path in paths if len(path.parts) > 1)
    if len(heads) != 1 or sum(heads.values()) != len(paths):
        return 0
    return 1 + around([PurePosixPath(*path.parts[1:]) for path in paths])


def _short(part: str) -> str:
    """A name that a file system takes, with its extension."""
    path = PurePosixPath(part)
    ending = path.suffix if len(path.suffix.encode()) < _LONGEST_NAME_BYTES // 2 else ""
    room = _LONGEST_NAME_BYTES - len(ending.encode())
    stem = part.removesuffix(ending).encode()[: max(1, room)].decode("utf-8", "ignore")
    return f"{stem}{ending}" if len(part.encode()) > _LONGEST_NAME_BYTES else part


class Names:
    """Gives each file a name that no other has, also in other case. Files of one stem, an image and its caption, stay together."""

    def __init__(self, taken: Collection[str] = ()) -> None:
        self._taken = {one.casefold() for one in taken}
        self._folded = {PurePosixPath(one).with_suffix("").as_posix().casefold() for one in taken}
        self._given: dict[tuple[int, str], str] = {}

    def of(self, path: PurePosixPath, source: int = 0) -> PurePosixPath:
        """The name of the file with this path; files of different sources do not belong together."""
        stem = path.with_suffix("").as_posix()
        given = self._given.get((source, stem))
        if given is None:
            given = _numbered(stem, self._folded)
            self._given[source, stem] = given
            self._folded.add(given.casefold())
        found = f"{given}{path.suffix}"
        if found.casefold() in self._taken:
            # The same path twice.
            found = f"{_numbered(given, self._folded)}{path.suffix}"
            self._folded.add(found.removesuffix(path.suffix).casefold())
        self._taken.add(found.casefold())
        return PurePosixPath(found)

    def take(self, path: PurePosixPath) -> bool:
        """Takes exactly this name; False if another file has it."""
        folded = path.as_posix().casefold()
        if folded in self._taken:
            return False
        self._taken.add(folded)
        self._folded.add(path.with_suffix("").as_posix().casefold())
        return True


def _numbered(stem: str, folded: Collection[str]) -> str:
    found, number = stem, 2
    while found.casefold() in folded:
        found, number = f"{stem}-{number}", number + 1
    return found
