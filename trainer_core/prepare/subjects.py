"""Values remembered for a subject, one file each: <home>/subjects/<slug>.toml.

version = 1
subject = "mika"
empty = ["optimizer.beta1"]     settings that the user left empty

[settings.schedule]
steps = 1200

A subject is what is trained: the trigger word, else the name of the dataset's folder. Only settings are remembered: no
paths, file names, native settings or tokens.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import SubjectError
from trainer_core.files import read_toml, set_aside, write_whole
from trainer_core.plan import fields
from trainer_core.plan.prompts import texts
from trainer_core.plan.subject import same
from trainer_core.text import printable

LARGEST_FILE_BYTES = 64 * 1024
VERSION = 1
KEYS = frozenset({"version", "subject", "empty", "settings"})


def kept_in(subject: str) -> Path:
    """The file of a subject. Upper and lower case, and the number of spaces, do not matter."""
    name = same(subject)
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    readable = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40]
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return places.home() / "subjects" / f"{f'{readable}-' if readable else ''}{digest}.toml"


def remember(subject: str, values: Mapping[str, Any]) -> Path:
    """Remembers these values for a subject, replaces the former ones, and returns the file.

    Settings of a single job (paths, names, native settings), invalid values and tokens are left out. If two processes write at
    the same time, the file of one of them remains, whole. A damaged file is kept aside as NAME.damaged.

    Raises:
        SubjectError: the subject is empty, or the file cannot be written.
    """
    import tomli_w

    if not same(subject):
        raise SubjectError("There is no subject to remember values for.", "Set a trigger word, or choose a dataset.")
    kept = {
        path: value
        for path, value in values.items()
        if _belongs(path) and not fields.check(path, value)[1] and not _is_secret(value)
    }
    settings = fields.nest({path: value for path, value in kept.items() if value is not None})
    empty = sorted(path for path, value in kept.items() if value is None)
    shown = same(subject).encode("utf-8", "replace").decode()
    data = {"version": VERSION, "subject": shown, "empty": empty, "settings": settings}
    path = kept_in(subject)
    try:
        try:
            recall(subject)
        except SubjectError:
            set_aside(path)
        write_whole(path, tomli_w.dumps(data).encode(), personal=True)
    except (OSError, UnicodeError) as error:
        raise SubjectError(f"{path} cannot be written: {error}.", "Check its permissions and free space.") from error
    return path


def recall(subject: str) -> dict[str, Any]:
    """The remembered values of a subject, by dotted path; empty if there are none.

    Raises:
        SubjectError: the file is not as `remember` writes it; the message contains file, key and reason.
    """
    path = kept_in(subject)
    data = _read(path)
    if data is None:
        return {}
    if unknown := sorted(set(data) - KEYS):
        raise _unusable(path, f"{printable(unknown[0], 60)!r} is not a known key")
    if data.get("version") != VERSION or isinstance(data["version"], bool):
        raise _unusable(path, f"its version is not {VERSION}")
    if data.get("subject") != same(subject).encode("utf-8", "replace").decode():
        raise _unusable(path, "it is for another subject")
    tables, empty = data.get("settings", {}), data.get("empty", [])
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise _unusable(path, "settings must be tables, such as [settings.network]")
    if not isinstance(empty, list) or not all(isinstance(name, str) for name in empty):
        raise _unusable(path, "empty must be a list of settings")
    return {key: _value(path, key, value) for key, value in {**fields.flatten(tables), **dict.fromkeys(empty)}.items()}


def forget(subject: str) -> bool:
    """Deletes the values of a subject, and returns whether there were any.

    Raises:
        SubjectError: the file cannot be deleted.
    """
    path = kept_in(subject)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SubjectError(f"{path} cannot be deleted: {error.strerror}.", "Check its permissions.") from error
    return True


def _belongs(path: str) -> bool:
    setting = fields.all_fields().get(path)
    return setting is not None and not setting.is_the_jobs


def _is_secret(value: Any) -> bool:
    from trainer_core.profiles.reading import holds_token

    return any(map(holds_token, texts(value)))


def _value(path: Path, key: str, value: Any) -> Any:
    if not _belongs(key):
        raise _unusable(path, f"{printable(key, 60)!r} is not a setting that is remembered for a subject")
    checked, sentence = fields.check(key, value)
    if sentence:
        raise _unusable(path, f"{key}: {sentence.rstrip('.')}")
    return checked


def _read(path: Path) -> dict[str, Any] | None:
    """The data of a file; None if it does not exist."""
    if not path.exists():
        return None
    if not path.is_file():  # Reading a pipe would block.
        raise _unusable(path, "it is not a regular file")
    return read_toml(path, SubjectError, _hint(path), LARGEST_FILE_BYTES)


def _unusable(path: Path, reason: str) -> SubjectError:
    return SubjectError(f"{path.name} cannot be used: {reason}.", _hint(path))


def _hint(path: Path) -> str:
    return f"Correct or delete {printable(str(path), 300)}."
