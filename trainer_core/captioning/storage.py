"""What models said of images, kept in Easel's cache by the content of the image and the model: probabilities of tags, and captions.

An image that was renamed, moved or copied keeps what was said of it. Everything in the file can be made again.
"""

from __future__ import annotations

import array
import contextlib
import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer_core import places
from trainer_core.captioning.labels import Label
from trainer_core.errors import DatasetError
from trainer_core.files import open_regular, set_aside

FILE = "captioning.sqlite"
WAIT_S = 30.0
READ_BYTES = 1 << 20
AT_ONCE = 400
"""How many images are asked for in one query."""
_TABLES = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER, mtime INTEGER, sha256 TEXT);
CREATE TABLE IF NOT EXISTS models (model TEXT PRIMARY KEY, labels TEXT);
CREATE TABLE IF NOT EXISTS tags (sha256 TEXT, model TEXT, places BLOB, shares BLOB, time REAL, PRIMARY KEY (sha256, model));
CREATE TABLE IF NOT EXISTS captions (
    sha256 TEXT, asked TEXT, model TEXT, text TEXT, marks TEXT, said TEXT, time REAL, PRIMARY KEY (sha256, asked));
"""


@dataclass(frozen=True)
class Probability:
    """What a tagger says of one tag of an image."""

    name: str
    category: str
    value: float


@dataclass(frozen=True)
class Caption:
    """What a captioner said of an image: `text` as it can be written, `said` as it came, and what is wrong with it."""

    text: str
    marks: tuple[str, ...] = ()
    said: str = ""
    model: str = ""


def place() -> Path:
    """The file with everything that is kept."""
    return places.cache() / FILE


class Storage:
    """The kept results. Every thread has a connection of its own; a damaged file is set aside, and a new one begun."""

    def __init__(self, path: Path | None = None) -> None:
        """Opens the file, and makes it if needed.

        Raises:
            DatasetError: it cannot be made.
        """
        self.path = path or place()
        self._local = threading.local()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._db().executescript(_TABLES)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self.close()
                set_aside(self.path)
                self._db().executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise DatasetError(f"{self.path} cannot be used: {error}.", "Check the disk and permissions.") from error

    def close(self) -> None:
        """Closes the connection of this thread."""
        database = getattr(self._local, "database", None)
        if database is not None:
            database.close()
            self._local.database = None

    # ---- images ----
    def identities(self, paths: Iterable[Path]) -> dict[Path, str]:
        """The SHA-256 of each file, from its size and time if they are known; files that cannot be read are left out."""
        known = self._known()
        found: dict[Path, str] = {}
        fresh: list[tuple[str, int, int, str]] = []
        for path in paths:
            try:
                seen = path.stat()
                row = known.get(str(path))
                if row is not None and row[:2] == (seen.st_size, seen.st_mtime_ns):
                    found[path] = row[2]
                    continue
                found[path] = _hash(path)
            except OSError:
                continue
            with contextlib.suppress(UnicodeEncodeError):
                str(path).encode()
                fresh.append((str(path), seen.st_size, seen.st_mtime_ns, found[path]))
        with self._writing() as database:
            database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", fresh)
        return found

    def identity(self, path: Path) -> str:
        """The SHA-256 of one file; "" if it cannot be read."""
        return self.identities([path]).get(path, "")

    # ---- tags ----
    def keep_labels(self, model: str, labels: Sequence[Label]) -> None:
        """Keeps the names of a model's tags."""
        text = json.dumps([[label.name, label.category] for label in labels])
        with self._writing() as database:
            database.execute("INSERT OR REPLACE INTO models VALUES (?, ?)", (model, text))

    def keep_tags(self, sha256: str, model: str, found: Iterable[tuple[int, float]]) -> None:
        """Keeps the probabilities of an image, by the places of the tags in the model's list."""
        pairs = list(found)
        where = array.array("I", [place for place, _ in pairs]).tobytes()
        shares = array.array("f", [value for _, value in pairs]).tobytes()
        with self._writing() as database:
            database.execute(
                "INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?, ?)", (sha256, model, where, shares, time.time())
            )

    def tagged(self, hashes: Iterable[str], model: str) -> set[str]:
        """Which of these images the model has tagged."""
        return {row[0] for row in self._rows("SELECT sha256 FROM tags WHERE model = ? AND sha256 IN", model, hashes)}

    def probabilities(self, hashes: Iterable[str], model: str) -> dict[str, tuple[Probability, ...]]:
        """What a model said of these images, the most probable tag first; tags without a category are left out."""
        labels = self._labels(model)
        found = {}
        for sha256, where, shares in self._rows(
            "SELECT sha256, places, shares FROM tags WHERE model = ? AND sha256 IN", model, hashes
        ):
            indexes, values = array.array("I", where), array.array("f", shares)
            rows = (
                Probability(labels[index].name, labels[index].category, value)
                for index, value in zip(indexes, values, strict=False)
                if index < len(labels) and labels[index].category
            )
            found[sha256] = tuple(sorted(rows, key=lambda each: -each.value))
        return found

    def _labels(self, model: str) -> tuple[Label, ...]:
        rows = self._asked("SELECT labels FROM models WHERE model = ?", (model,))
        return tuple(Label(name, category) for name, category in json.loads(rows[0][0])) if rows else ()

    # ---- captions ----
    def keep_caption(self, sha256: str, asked: str, caption: Caption) -> None:
        """Keeps what a captioner said of an image; `asked` identifies the model and the question."""
        row = (sha256, asked, caption.model, caption.text, json.dumps(caption.marks), caption.said, time.time())
        with self._writing() as database:
            database.execute("INSERT OR REPLACE INTO captions VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def forget_captions(self, asked: Mapping[str, str]) -> None:
        """Forgets the answers to these questions, by the SHA-256 of the image."""
        with self._writing() as database:
            database.executemany("DELETE FROM captions WHERE sha256 = ? AND asked = ?", list(asked.items()))

    def captions(self, asked: Mapping[str, str]) -> dict[str, Caption]:
        """What was said of these images, by their SHA-256; `asked` has the question of each."""
        found = {}
        query = "SELECT sha256, asked, model, text, marks, said FROM captions WHERE 1 = ? AND sha256 IN"
        for sha256, question, model, text, marks, said in self._rows(query, 1, asked):
            if asked[sha256] == question:
                found[sha256] = Caption(text, tuple(json.loads(marks)), said, model)
        return found

    # ---- inside ----
    def _db(self) -> sqlite3.Connection:
        database = getattr(self._local, "database", None)
        if database is None:
            database = sqlite3.connect(self.path, timeout=WAIT_S, isolation_level=None)
            database.execute("PRAGMA synchronous = NORMAL")
            self._local.database = database
        return database

    def _known(self) -> dict[str, tuple[int, int, str]]:
        return {row[0]: row[1:] for row in self._asked("SELECT path, size, mtime, sha256 FROM files")}

    def _rows(self, query: str, first: object, hashes: Iterable[str]) -> Iterator[tuple]:
        wanted = list(hashes)
        for start in range(0, len(wanted), AT_ONCE):
            part = wanted[start : start + AT_ONCE]
            yield from self._asked(f"{query} ({', '.join('?' * len(part))})", (first, *part))

    def _asked(self, query: str, values: Sequence[object] = ()) -> list[tuple]:
        try:
            return self._db().execute(query, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise DatasetError(
                f"{self.path} cannot be read: {error}.", "Remove this file: what is in it can be made again."
            ) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        database = self._db()
        try:
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise DatasetError(
                f"{self.path} cannot be written: {error}.", "Free some space, or check the disk."
            ) from error


def _hash(path: Path) -> str:
    hashed = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(READ_BYTES):
            hashed.update(block)
    return hashed.hexdigest()
